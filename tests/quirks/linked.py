"""Links over TLS to a simulated carrier, without a store: what happens on the wire, seen from both ends.

    async with linked(files, "throttle: {rate_s: 10}", binds=2) as wire:
        wire.submit(5)
        await wire.until(lambda: len(wire.driver.results) == 5)
        assert wire.simulator.received[0].submit.data_coding == 0

The carrier's certificate can be wrong in every way that a link has to refuse (`CertificateFiles`).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
import time
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.x509.oid import ExtendedKeyUsageOID

from carrier.contract import LinkState, Submission
from carrier.link import SmppLink
from carrier.pacing import Pacer
from carrier.profile import CarrierProfile, CarrierTls, Secret
from carrier.simulator.script_file import parse_script
from carrier.simulator.simulator import Simulator
from tests.carrier.certificates import DAY, Pair, issue, make_ca
from tests.carrier.driver import Driver, batch
from tests.quirks.way import Files

WITHIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """Certificates of a carrier, one right and the others wrong in one way each, and one of ours."""

    ca: Pair
    right: Pair
    expired: Pair
    not_yet: Pair
    self_signed: Pair
    wrong_host: Pair
    client: Pair  # issued to us, by the same authority

    @classmethod
    def make(cls, folder: Path) -> CertificateFiles:
        """Write them all below `folder`."""
        ca = make_ca(folder)
        return cls(
            ca=ca,
            right=issue(folder, "right", ca=ca, host="localhost"),
            expired=issue(folder, "expired", ca=ca, host="localhost", starts=-2 * DAY, ends=-dt.timedelta(hours=1)),
            not_yet=issue(folder, "not-yet", ca=ca, host="localhost", starts=dt.timedelta(hours=1)),
            self_signed=issue(folder, "self-signed", ca=None, host="localhost"),
            wrong_host=issue(folder, "wrong-host", ca=ca, host="other.example"),
            client=issue(folder, "client", ca=ca, host="us.example", purpose=ExtendedKeyUsageOID.CLIENT_AUTH),
        )


def server_context(
    certificate: Path, key: Path, *, most: ssl.TLSVersion | None = None, client_ca: Path | None = None
) -> ssl.SSLContext:
    """Return a carrier's context. `most`: its latest TLS version; `client_ca`: whose certificates it requires of us."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if most is not None:
        with warnings.catch_warnings(action="ignore"):  # old versions are what some of the tests are about
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = most
        context.set_ciphers("ALL:@SECLEVEL=0")
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Wire:
    """A running simulator, and the links that are bound to it."""

    def __init__(self, simulator: Simulator, profile: CarrierProfile, binds: int) -> None:
        self.simulator = simulator
        self.profile = profile
        self.driver = Driver()
        self.pacer = Pacer(profile.rate_pdus_s, now_ns=time.monotonic_ns())
        self.links = [SmppLink(profile, index, self.driver, self.pacer) for index in range(binds)]
        self._submitted = 0

    @property
    def link(self) -> SmppLink:
        """The first one."""
        return self.links[0]

    def submit(self, count: int, *, lane: int = 2, link: SmppLink | None = None) -> Sequence[Submission]:
        """Hand over so many submit_sm."""
        made = batch(count, lane, self._submitted)
        self._submitted += count
        (link or self.link).submit(made)
        return made

    async def until(self, done: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        """Wait until `done`, which may look at either end."""
        async with asyncio.timeout(within_s):
            while not done():
                await asyncio.sleep(0.002)

    async def bound(self) -> None:
        """Wait until every link is bound."""
        await self.until(lambda: all(link.state is LinkState.BOUND for link in self.links))

    def why(self) -> list[str]:
        """Return what was said of each change of state."""
        return [why for _, why in self.driver.states]


@asynccontextmanager
async def linked(
    files: Files,
    script: str = "",
    *,
    binds: int = 1,
    context: ssl.SSLContext | None = None,
    wait: bool = True,
    **settings: Any,
) -> AsyncIterator[Wire]:
    """Run links against a simulator with `script`; `settings` are fields of the carrier's profile.

    `context`: the carrier's, when it is not the right one; `wait`: until all are bound.
    """
    simulator = Simulator(parse_script(script), context or server_context(files.certificate, files.key))
    await simulator.start()
    given: dict[str, Any] = {
        "name": "acme", "host": "localhost", "port": simulator.port, "system_id": "user", "password": Secret(b"secret"),
        "tls": CarrierTls(ca_file=files.ca), "reconnect_min_s": 0.05, "reconnect_max_s": 0.2, "rate_pdus_s": 10_000.0,
    }  # fmt: skip
    wire = Wire(simulator, CarrierProfile(**(given | settings)), binds)
    tasks = [asyncio.create_task(link.run()) for link in wire.links]
    try:
        if wait:
            await wire.bound()
        yield wire
    finally:
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*(link.stop(0) for link in wire.links))
            await asyncio.gather(*tasks)
        await simulator.stop()
