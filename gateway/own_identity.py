"""Who this node is, and whom it believes: its SVID and bundles, from files or from a SPIFFE Workload API.

Both are one contract, `OwnIdentity`, whose SVID and bundles change while the node runs; what is built on them
(`certs.tls.server_credentials`, `gateway.identity.CallerResolver`) goes by their versions, and no connection is cut for
a change. Bundles of other trust domains are believed only when the configuration names those (docs/adr/0027).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

from cryptography import x509
from cryptography.x509.oid import NameOID

from certs.bundle import Bundle, JoinedTrust, Trust
from certs.errors import BadSvid, BundleError, CertsError, NoIdentity
from certs.svid import X509Svid
from certs.tls import BundleFiles, SvidFiles, check_own_svid
from certs.workload.following import Change, Standing
from certs.workload.source import X509Source
from certs.workload.state import WorkloadState

log = logging.getLogger(__name__)

_REFRESH_S: Final = 1.0  # how often files are looked at
_TELL_S: Final = 10.0  # how often a node that waits says so
_DEVELOPMENT: Final = "development"

Told = Callable[[str, str], Awaitable[None]]  # what was renewed, "svid" or "bundles"; the serial number of an SVID


class OwnIdentity(Protocol):
    """The node's SVID (in the shape of `certs.tls.SvidSource`) and the bundles that it trusts."""

    @property
    def svid(self) -> X509Svid:
        """The SVID to present: the last one, when there is none any more."""

    @property
    def version(self) -> int:
        """A number that grows when `svid` changes."""

    @property
    def bundles(self) -> Trust:
        """Whom the node believes: nobody, while it has no identity itself."""

    @property
    def expires_at(self) -> dt.datetime:
        """The last second in which `svid` may be presented, UTC; when it was taken away, if it was."""

    @property
    def source(self) -> str:
        """Where it comes from, for people."""

    @property
    def faults(self) -> Mapping[str, str]:
        """What is wrong now, and why: with "svid" or "bundles", files of those, and with "source", a Workload API."""

    async def ready(self) -> None:
        """Return when there is an SVID that can be served with. Raises CertsError."""

    async def run(self, told: Told) -> None:
        """Follow the source until cancelled, and tell of what was renewed since `ready`."""


class IdentityFiles:
    """An identity in files that another process renews."""

    def __init__(self, svid: SvidFiles, bundles: BundleFiles, clock: Callable[[], dt.datetime]) -> None:
        self._svid, self._bundles, self._clock = svid, bundles, clock
        self._faults: dict[str, str] = {}

    @property
    def svid(self) -> X509Svid:
        """The SVID in the files."""
        return self._svid.svid

    @property
    def version(self) -> int:
        """A number that grows when `svid` changes."""
        return self._svid.version

    @property
    def bundles(self) -> Trust:
        """The bundles in the files."""
        return self._bundles.bundles

    @property
    def expires_at(self) -> dt.datetime:
        """The last second in which the SVID is valid, UTC."""
        return self._svid.svid.expires_at

    @property
    def source(self) -> str:
        """Which files."""
        return f"files: {self._svid.cert_path}"

    @property
    def faults(self) -> Mapping[str, str]:
        """What is wrong with the files now."""
        return self._faults

    async def ready(self) -> None:
        """Raise CertsError unless the SVID is good now."""
        check_own_svid(self.svid, self.bundles, self._clock())

    async def run(self, told: Told) -> None:
        """Look at the files every second; a bad one leaves the old in force, and is logged once."""
        while True:
            await asyncio.sleep(_REFRESH_S)
            if refreshed("svid", self._svid, self._faults):
                await told("svid", self.svid.serial)
            if refreshed("bundles", self._bundles, self._faults):
                await told("bundles", "")


class IdentityFromWorkloadApi:
    """An identity from a Workload API; bundles of some other trust domains may stand in files."""

    def __init__(
        self,
        source: X509Source,
        others: BundleFiles,
        *,
        wait_s: float,
        development: bool,
        clock: Callable[[], dt.datetime],
    ) -> None:
        """`others` holds trust domains that the source does not take over; `wait_s` is for the first SVID; with
        `development` a development CA is believed."""
        self.bundles: Trust = JoinedTrust(source.bundles, others.bundles)
        self._source, self._others = source, others
        self._wait_s, self._development, self._clock = wait_s, development, clock
        self._faults: dict[str, str] = {}
        self._news = asyncio.Event()
        self._renewed: set[str] = set()
        self._last: X509Svid | None = None
        self._ended_at: dt.datetime | None = None
        self._begun = False
        source.subscribe(self._changed)

    @property
    def svid(self) -> X509Svid:
        """The last SVID. Raises NoIdentity before there was one."""
        try:  # asked after `version`: it has to be of that version or a later one, so not `_last` first
            return self._source.svid
        except NoIdentity:
            if self._last is None:
                raise
            return self._last

    @property
    def version(self) -> int:
        """A number that grows when the Workload API gives another SVID."""
        return self._source.version

    @property
    def expires_at(self) -> dt.datetime:
        """The last second in which the SVID, and its authorities, are valid, UTC; when it was taken away, if it was."""
        try:
            return self._source.expires_at
        except NoIdentity:
            if self._last is None:
                raise
            return self._ended_at or self._clock()

    @property
    def source(self) -> str:
        """Which Workload API."""
        return f"Workload API: {self._source.endpoint}"

    @property
    def faults(self) -> Mapping[str, str]:
        """What is wrong with the Workload API, and with the files beside it."""
        why, standing = self._source.trouble, self._source.standing
        if not why:
            return self._faults
        text = f"the Workload API is {standing}: {why}" if standing is not Standing.FOLLOWING else why
        return {**self._faults, "source": text}

    async def ready(self) -> None:
        """Wait for the first SVID, and say meanwhile what is waited for. Raises NoIdentity when none comes in time."""
        waiting = asyncio.create_task(self._say_waiting())
        try:
            await self._source.ready(self._wait_s)
        finally:
            waiting.cancel()
            await asyncio.wait({waiting})
        for bundle in self.bundles.all():  # that of the own trust domain has been looked at; others are the operator's
            refuse_development(bundle, allowed=self._development)
        self._begun = True

    async def run(self, told: Told) -> None:
        """Follow the Workload API, and the files beside it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._source.run())
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_REFRESH_S):
                        await self._news.wait()
                self._news.clear()
                if refreshed("bundles", self._others, self._faults):
                    self._renewed.add("bundles")
                for what in sorted(self._renewed):
                    self._renewed.discard(what)
                    await told(what, self.svid.serial if what == "svid" else "")

    async def _say_waiting(self) -> None:
        while True:
            log.info(
                "waiting_for_identity",
                extra={"source": self.source, "at_most_s": self._wait_s, "why": self._source.trouble},
            )
            await asyncio.sleep(_TELL_S)

    def _changed(self, change: Change) -> None:
        """Note what the source tells."""
        if self._source.has_identity:
            self._last = self._source.svid
        else:
            self._ended_at = self._clock()
        if self._begun:
            self._renewed |= {what for what, is_new in (("svid", change.svid), ("bundles", change.bundles)) if is_new}
            self._news.set()


class Refreshing(Protocol):
    """Files that are read again when they have changed."""

    def refresh(self) -> bool:
        """Read them; says whether there is something new. Raises CertsError, OSError."""


def refreshed(what: str, files: Refreshing, faults: dict[str, str]) -> bool:
    """Refresh files; says whether there is something new. What is wrong is kept in `faults`, and logged once."""
    try:
        found = files.refresh()
    except (CertsError, OSError) as error:
        if faults.get(what) != str(error):
            log.error("certificates_not_renewed", extra={"what": what, "why": str(error)})
        faults[what] = str(error)
        return False
    faults.pop(what, None)
    return found


def fit_to_serve(*, development: bool) -> Callable[[WorkloadState], None]:
    """Return what raises CertsError for a state that no node can serve with; `development` allows a development CA."""

    def check(state: WorkloadState) -> None:
        spiffe_id = state.svid.spiffe_id
        if not state.svid.facts.dns_names:
            raise BadSvid(
                f"the SVID of {spiffe_id} has no DNS name, by which callers check it: have it issued with one, such as "
                f"gateway.{spiffe_id.trust_domain}"
            )
        refuse_development(state.bundle, allowed=development)

    return check


def refuse_development(bundle: Bundle, *, allowed: bool) -> None:
    """Raise BundleError for the bundle of a development CA, unless that is allowed."""
    if is_development(bundle) and not allowed:
        raise BundleError(
            f"the bundle of {bundle.trust_domain} is of a development CA: use a real one; or, on a developer's "
            "machine, set node.environment: development"
        )


def is_development(bundle: Bundle) -> bool:
    """Say whether a root of the bundle says, in its name, that it is for development."""
    return any(_DEVELOPMENT in _common_name(authority).lower() for authority in bundle.authorities)


def _common_name(certificate: x509.Certificate) -> str:
    return " ".join(str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME))
