"""Reads smsgw.yaml once, whole, into frozen `Settings`, or says everything that is wrong with it.

Only the carriers' password files are opened here besides the configuration itself; keys and certificates belong to the
parts that use them (`smsgw check` looks at all of them).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from carrier.profile import CarrierProfile, CarrierTls, Secret
from gateway.config.errors import ConfigError
from gateway.config.reader import Reader, Wrong
from gateway.config.rules import findings
from gateway.config.schema import CarrierSettings, Document, Settings
from gateway.config.secret_files import SecretFileRefused, read_secret_file
from gateway.config.yaml_tree import read_tree

_PASSWORD_BYTES = 8  # SMPP 3.4 §5.2.2: nine octets with the NUL


def load(path: Path) -> Settings:
    """Return the configuration in `path`. Raises ConfigError with every problem found, in the order of the file.

    Relative paths are taken from the folder of the file, `store.file` from `node.data_dir`.
    """
    file = Path(path)
    tree = read_tree(file)
    reader = Reader(file.absolute())
    try:
        document = reader.section(Document, tree, "")
    except Wrong:
        document = None
    if document is not None:
        for key, text in findings(document):
            reader.note(key, text)
        carriers = tuple(_profile(carrier, at, reader) for at, carrier in enumerate(document.carriers))
        if not reader.problems:
            return _settings(file.absolute(), document, carriers)
    raise ConfigError(
        tuple(problem._replace(file=file) for problem in sorted(reader.problems, key=lambda problem: problem.line))
    )


def _settings(file: Path, document: Document, carriers: tuple[CarrierProfile, ...]) -> Settings:
    return Settings(
        file=file,
        node=document.node,
        api=document.api,
        identity=document.identity,
        tenants=document.tenants,
        store=dataclasses.replace(document.store, file=document.node.data_dir / document.store.file),
        keys=document.keys,
        policy=document.policy,
        limits=document.limits,
        messages=document.messages,
        pipeline=document.pipeline,
        carriers=carriers,
        log=document.log,
        telemetry=document.telemetry,
    )


def _profile(carrier: CarrierSettings, at: int, reader: Reader) -> CarrierProfile:
    tls = carrier.tls
    return CarrierProfile(
        name=carrier.name,
        host=carrier.host,
        port=carrier.port,
        system_id=carrier.system_id,
        password=_password(carrier.password_file, f"carriers[{at}].password_file", reader),
        system_type=carrier.system_type,
        tls=None
        if carrier.insecure
        else CarrierTls(
            ca_file=tls.ca_file,
            server_name=tls.server_name,
            certificate_file=tls.certificate_file,
            key_file=tls.key_file,
        ),
        binds=carrier.binds,
        window=carrier.window,
        rate_pdus_s=carrier.rate,
        enquire_link_s=carrier.enquire_link_s,
        response_timeout_s=carrier.response_timeout_s,
        connect_timeout_s=carrier.connect_timeout_s,
        reconnect_min_s=carrier.reconnect_min_s,
        reconnect_max_s=carrier.reconnect_max_s,
    )


def _password(file: Path, key: str, reader: Reader) -> Secret:
    """Return the password; what is wrong with its file is noted, and an empty one returned."""
    try:
        octets = read_secret_file(file, max_bytes=1024).removesuffix(b"\n").removesuffix(b"\r")
    except SecretFileRefused as error:
        reader.note(key, str(error))
        return Secret(b"")
    if not octets:
        reader.note(key, f"{file} is empty; write the carrier's password into it")
    elif len(octets) > _PASSWORD_BYTES:
        reader.note(key, f"the password in {file} has more than {_PASSWORD_BYTES} characters: SMPP 3.4 carries no more")
    elif not all(0x20 < octet < 0x7F for octet in octets):
        reader.note(key, f"the password in {file} has characters other than visible ASCII")
    return Secret(octets)
