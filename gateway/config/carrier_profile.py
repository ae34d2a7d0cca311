"""From a carrier's settings to the profile that its links work by. Opens the password file, and no other."""

from __future__ import annotations

from pathlib import Path

from carrier.ids import IdForms
from carrier.profile import Binding, CarrierProfile, CarrierTls, Receiver, Secret
from carrier.statuses import with_overrides
from gateway.config.bind_settings import BindMode, BindSettings
from gateway.config.carrier_kinds import TlsVersion
from gateway.config.carrier_settings import CarrierSettings
from gateway.config.carrier_text_settings import text_profile
from gateway.config.reader import Reader
from gateway.config.secret_files import SecretFileRefused, read_secret_file

_PASSWORD_BYTES = 64  # SMPP 3.4 §5.2.2 has 8; carriers hand out longer ones, and to cut one is to send another


def profile_of(carrier: CarrierSettings, at: int, reader: Reader) -> CarrierProfile:
    """Return the profile of `carriers[at]`; what is wrong with its files is noted in `reader`."""
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
            tls_1_2=tls.min_version is TlsVersion.V12,
            spki_sha256=tls.spki_sha256,
        ),
        binding=_binding(carrier.bind, f"carriers[{at}].bind.receiver.password_file", reader),
        binds=carrier.binds,
        window=carrier.window,
        rate_pdus_s=carrier.rate,
        enquire_link_s=carrier.enquire_link_s,
        response_timeout_s=carrier.response_timeout_s,
        connect_timeout_s=carrier.connect_timeout_s,
        reconnect_min_s=carrier.reconnect_min_s,
        reconnect_max_s=carrier.reconnect_max_s,
        max_inbound_rate=carrier.max_inbound_rate,
        text=text_profile(carrier.text),
        addresses=carrier.addresses.profile(),
        submit=carrier.submit.rules(),
        tlvs=tuple(tlv.rule() for tlv in carrier.tlvs),
        ids=IdForms(response=carrier.ids.response, receipt=carrier.ids.receipt, ignore_case=carrier.ids.ignore_case),
        receipts=carrier.receipts.rules(),
        operations=carrier.operations.rules(),
        statuses=with_overrides(carrier.statuses),
    )


def _binding(bind: BindSettings, password_key: str, reader: Reader) -> Binding:
    receiver = None
    if bind.mode is BindMode.PAIR:
        own = bind.receiver
        receiver = Receiver(
            host=own.host or "",
            port=own.port or 0,
            server_name=own.server_name,
            system_id=own.system_id,
            password=_password(own.password_file, password_key, reader) if own.password_file else None,
        )
    return Binding(
        receiver=receiver,
        interface_version=bind.interface_version.number,
        assumed_version=bind.assumed_version.number,
        addr_ton=bind.addr_ton,
        addr_npi=bind.addr_npi,
        address_range=bind.address_range,
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
        reader.note(key, f"the password in {file} has more than {_PASSWORD_BYTES} characters: no carrier takes that")
    elif not all(0x20 < octet < 0x7F for octet in octets):
        reader.note(key, f"the password in {file} has characters other than visible ASCII")
    return Secret(octets)
