"""Row 32 by outside judges: openssl s_server and node-smpp as carriers whose certificate or TLS version is wrong.

Each is refused with what is wrong and what to do, before the password is sent; the right one is bound to.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from carrier.contract import LinkState
from carrier.profile import CarrierTls, Secret
from carrier.tls import spki_sha256
from tests.appliance import ProcessFailed, Running
from tests.carrier.certificates import Pair
from tests.carrier.driver import profile_of, running
from tests.interop.conftest import SCRIPTS
from tests.quirks.linked import CertificateFiles

pytestmark = pytest.mark.interop

PASSWORD = "pa55word"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A carrier that is wrong in one way: its certificate, the versions it has, what the profile pins."""

    pair: str = "right"
    most: str = ""  # its newest TLS version: 1.1 or 1.2
    tls_1_2: bool = False
    pinned: str = ""  # whose key the profile pins


REFUSED = {
    "wrong host name": (Wrong(pair="wrong_host"), "names another host (expected name: localhost): set host or"),
    "expired": (Wrong(pair="expired"), "has expired (expected name: localhost): ask the carrier to renew it"),
    "self-signed": (Wrong(pair="self_signed"), "is self-signed and not trusted (expected name: localhost): set tls.ca"),
    "unpinned": (Wrong(pinned="client"), "is not one of those pinned in tls.spki_sha256 (it is "),
    "TLS 1.1": (Wrong(most="1.1", tls_1_2=True), "only TLS older than 1.2: ask the carrier for TLS 1.2 or later"),
    "TLS 1.1, default": (Wrong(most="1.1"), "only TLS older than 1.3: ask the carrier for TLS 1.3"),
    "TLS 1.2, default": (Wrong(most="1.2"), 'set tls.min_version to "1.2" for this carrier'),
}
TAKEN = {
    "pinned": Wrong(pinned="right"),
    "TLS 1.3": Wrong(),
    "TLS 1.2, allowed": Wrong(most="1.2", tls_1_2=True),
}


@pytest.fixture(name="certificates", scope="module")
def _certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    """A carrier's certificates, right and wrong."""
    return CertificateFiles.make(tmp_path_factory.mktemp("certificates"))


def pair_of(certificates: CertificateFiles, name: str) -> Pair:
    """Return one of them."""
    pair = getattr(certificates, name)
    assert isinstance(pair, Pair)
    return pair


def free_port() -> int:
    """Return a port that nobody listened on a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def s_server(certificates: CertificateFiles, wrong: Wrong, folder: Path) -> Iterator[tuple[int, Path]]:
    """Run openssl s_server; its port, and the file that holds what it was told in the clear."""
    pair, port, heard = pair_of(certificates, wrong.pair), free_port(), folder / "heard"
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(pair.certificate_file)]
    command += ["-key", str(pair.key_file), "-quiet"]
    if wrong.most:
        command += [f"-tls{wrong.most.replace('.', '_')}", "-cipher", "ALL:@SECLEVEL=0"]
    with heard.open("wb") as out, (folder / "s_server.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=log)
        try:
            await_listener(port)
            yield port, heard
        finally:
            process.kill()
            process.wait(10)
            assert process.stdin is not None
            process.stdin.close()


def await_listener(port: int) -> None:
    """Return when somebody listens: its table of sockets says so, since a connection would be served."""
    deadline = time.monotonic() + 15
    wanted = f"0100007F:{port:04X} 00000000:0000 0A"
    while wanted not in Path("/proc/net/tcp").read_text():
        assert time.monotonic() < deadline, "openssl s_server does not listen"
        time.sleep(0.02)


@contextmanager
def node_smpp(
    certificates: CertificateFiles, wrong: Wrong, folder: Path, environment: dict[str, str]
) -> Iterator[tuple[int, Running]]:
    """Run node-smpp; its port, and the process, which tells of each bind."""
    pair = pair_of(certificates, wrong.pair)
    orders = {
        "certificate": str(pair.certificate_file), "key": str(pair.key_file), "system_id": "user", "password": PASSWORD,
        "max_version": f"TLSv{wrong.most}" if wrong.most else "",
    }  # fmt: skip
    command = ["node", str(SCRIPTS / "smpp_carrier.js"), json.dumps(orders)]
    with Running(command, log=folder / "node-smpp.log", environment=environment, stdin=True) as process:
        yield int(json.loads(process.line())["port"]), process


def told_by(process: Running) -> list[str]:
    """Return the events that a process that has ended told of."""
    events: list[str] = []
    while True:
        try:
            events.append(json.loads(process.line())["event"])
        except ProcessFailed:
            return events


def tls_of(certificates: CertificateFiles, wrong: Wrong) -> CarrierTls:
    """Return what the profile demands."""
    pins: tuple[bytes, ...] = ()
    if wrong.pinned:
        certificate = pair_of(certificates, wrong.pinned).certificate
        pins = (spki_sha256(certificate.public_bytes(Encoding.DER)),)
    return CarrierTls(ca_file=certificates.ca.certificate_file, tls_1_2=wrong.tls_1_2, spki_sha256=pins)


async def refusal_by(port: int, tls: CarrierTls) -> str:
    """Let a link try, and return why it gave up."""
    profile = profile_of(port, host="localhost", tls=tls, password=Secret(PASSWORD.encode()), reconnect_min_s=60,
                         reconnect_max_s=60)  # fmt: skip
    async with running(profile) as (_, driver):
        return await driver.until_state(LinkState.BACKOFF)


@pytest.mark.parametrize("case", REFUSED)
async def test_openssl_is_refused(certificates: CertificateFiles, tmp_path: Path, case: str) -> None:
    """s_server with one thing wrong is told why, and hears no octet of SMPP."""
    wrong, says = REFUSED[case]
    with s_server(certificates, wrong, tmp_path) as (port, heard):
        assert says in await refusal_by(port, tls_of(certificates, wrong))
    assert heard.read_bytes() == b""


@pytest.mark.parametrize("case", TAKEN)
async def test_openssl_hears_the_bind(certificates: CertificateFiles, tmp_path: Path, case: str) -> None:
    """s_server that is right is sent the bind: what is refused above is refused for the one thing that is wrong."""
    wrong = TAKEN[case]
    with s_server(certificates, wrong, tmp_path) as (port, heard):
        profile = profile_of(
            port, host="localhost", tls=tls_of(certificates, wrong), password=Secret(PASSWORD.encode())
        )
        async with running(profile):
            deadline = time.monotonic() + 15
            while PASSWORD.encode() not in heard.read_bytes():
                assert time.monotonic() < deadline, "no bind came"
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("case", REFUSED)
async def test_node_smpp_is_refused(
    certificates: CertificateFiles, tmp_path: Path, node_environment: dict[str, str], case: str
) -> None:
    """node-smpp with one thing wrong is told why, and sees no bind."""
    wrong, says = REFUSED[case]
    with node_smpp(certificates, wrong, tmp_path, node_environment) as (port, process):
        assert says in await refusal_by(port, tls_of(certificates, wrong))
        process.end()
        assert "bound" not in told_by(process)


@pytest.mark.parametrize("case", TAKEN)
async def test_node_smpp_is_bound_to(
    certificates: CertificateFiles, tmp_path: Path, node_environment: dict[str, str], case: str
) -> None:
    """node-smpp that is right is bound to."""
    wrong = TAKEN[case]
    with node_smpp(certificates, wrong, tmp_path, node_environment) as (port, _):
        tls = tls_of(certificates, wrong)
        profile = profile_of(port, host="localhost", tls=tls, password=Secret(PASSWORD.encode()))
        async with running(profile) as (_, driver):
            await driver.until_state(LinkState.BOUND)
