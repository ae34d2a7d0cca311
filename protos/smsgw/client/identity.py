"""Where a client has its SVID and its bundles from, and how it learns that they changed.

`default_source` says which source counts when none is named. A source is opened once, tells of changes on a thread of
its own, and keeps what it had when the new thing cannot be used.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from certs.bundle import Trust
from certs.errors import CertsError, NotValidNow
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.svid import X509Svid
from certs.tls import BundleFiles, SvidFiles
from certs.verify import check_time
from certs.workload.blocking import BlockingX509Source
from certs.workload.endpoint import Endpoint
from certs.workload.state import Pick
from smsgw.client.errors import IdentityUnusable

log = logging.getLogger(__name__)

SOCKET_VARIABLE = "SPIFFE_ENDPOINT_SOCKET"
SVID_VARIABLE, KEY_VARIABLE, BUNDLE_VARIABLE = "SMSGW_SVID_FILE", "SMSGW_SVID_KEY_FILE", "SMSGW_BUNDLE_FILE"
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who we are, and whom we trust: one state of a source."""

    svid: X509Svid
    bundles: Trust


class IdentitySource(Protocol):
    """A source of identities. Its methods block, and may be called on any thread."""

    def open(self, changed: Callable[[], None]) -> None:
        """Get the first identity; from then on call `changed`, on any thread, after each change.

        Raises IdentityUnusable.
        """

    def current(self) -> Identity:
        """Return the identity as it is now. Raises IdentityUnusable."""

    def refresh(self) -> bool:
        """Look for a change at once, where that can be done; says whether there was one."""

    def close(self) -> None:
        """Look no further. Idempotent."""


class IdentityFiles:
    """SVID, key and bundles in files that another process renews; read again within a second of a change."""

    def __init__(
        self,
        svid_file: Path | str,
        svid_key_file: Path | str,
        bundle_file: Path | str,
        *,
        federated: Mapping[str, Path | str] | None = None,
        look_every_s: float = _LOOK_EVERY_S,
    ) -> None:
        """`bundle_file` is that of the SVID's own trust domain, PEM or SPIFFE JSON; `federated`: trust domain → bundle
        file, where the server belongs to another one."""
        self._svid_file, self._key_file = Path(svid_file), Path(svid_key_file)
        self._bundle_file = Path(bundle_file)
        self._federated = {TrustDomain(name): Path(path) for name, path in (federated or {}).items()}
        self._look_every_s = look_every_s
        self._looking = threading.Lock()
        self._closed = threading.Event()
        self._changed: Callable[[], None] = lambda: None
        self._thread: threading.Thread | None = None
        self._svid: SvidFiles | None = None
        self._bundles: BundleFiles | None = None
        self.trouble: CertsError | None = None  # why the last look took nothing over; None when it could

    def open(self, changed: Callable[[], None]) -> None:
        """Read the files, and watch them. Raises IdentityUnusable, which names the file and what to do."""
        try:
            self._svid = SvidFiles(self._svid_file, self._key_file)
            check_time(self._svid.svid.facts.not_before, self._svid.svid.expires_at, dt.datetime.now(dt.UTC))
            own = self._svid.svid.spiffe_id.trust_domain
            self._bundles = BundleFiles({**self._federated, own: self._bundle_file})
        except NotValidNow as error:
            raise IdentityUnusable(f"{self._svid_file}: {error}; issue a new one with `smsgw ca issue`") from error
        except CertsError as error:
            raise IdentityUnusable(str(error)) from error
        self._changed = changed
        self._thread = threading.Thread(target=self._watch, name="smsgw-client-identity", daemon=True)
        self._thread.start()

    def current(self) -> Identity:
        """Return what was read last."""
        if self._svid is None or self._bundles is None:
            raise IdentityUnusable("the identity was not opened")
        return Identity(svid=self._svid.svid, bundles=self._bundles.bundles)

    def refresh(self) -> bool:
        """Look at the files now; `trouble` says why changed ones could not be taken over."""
        if self._svid is None or self._bundles is None:
            return False
        with self._looking:
            trouble: CertsError | None = None
            changed = False
            for files in (self._bundles, self._svid):
                try:
                    changed = files.refresh() or changed
                except CertsError as error:
                    trouble = error
            if trouble is not None and str(trouble) != str(self.trouble):
                log.warning("identity_not_taken_over", extra={"why": str(trouble)})
            self.trouble = trouble
        if changed:
            self._changed()
        return changed

    def close(self) -> None:
        """Watch no further."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._closed.wait(self._look_every_s):
            self.refresh()


class WorkloadIdentity:
    """What a SPIFFE Workload API gives this process (`smsgw agent`, SPIRE), followed as it changes.

    While the agent is away, what it gave last counts.
    """

    def __init__(
        self, socket: str | None = None, *, spiffe_id: str | None = None, hint: str = "", timeout_s: float = 30.0
    ) -> None:
        """Args:
        socket: unix:///PATH or tcp://127.0.0.1:PORT; what SPIFFE_ENDPOINT_SOCKET says when left out.
        spiffe_id: which identity, where this process has several; the default one when left out.
        hint: the same by its hint.
        timeout_s: how long to wait for the first SVID.
        """
        self._socket, self._timeout_s = socket, timeout_s
        self._wanted = Pick(spiffe_id=None if spiffe_id is None else SpiffeId.parse(spiffe_id), hint=hint)
        self._source: BlockingX509Source | None = None

    def open(self, changed: Callable[[], None]) -> None:
        """Wait for the first SVID, and follow. Raises IdentityUnusable, which says what to do."""
        try:
            named = Endpoint.from_environment(os.environ) if self._socket is None else Endpoint.parse(self._socket)
        except CertsError as error:
            raise IdentityUnusable(str(error)) from error
        self._source = BlockingX509Source(named, self._wanted)
        self._source.__enter__()
        try:
            self._source.ready(self._timeout_s)
        except CertsError as error:
            raise IdentityUnusable(
                f"{error}; does the agent run, may this process reach its socket, and is the workload registered?"
            ) from error
        self._source.subscribe(lambda _: changed())  # what changed before is in `current`, which nobody has asked yet

    def current(self) -> Identity:
        """Return what the Workload API said last. Raises IdentityUnusable when it has taken it away."""
        if self._source is None:
            raise IdentityUnusable("the identity was not opened")
        try:
            return Identity(svid=self._source.svid, bundles=self._source.bundles)
        except CertsError as error:
            raise IdentityUnusable(f"{error}; is the workload still registered for this process?") from error

    def refresh(self) -> bool:
        """Nothing can be looked for: the Workload API tells by itself."""
        return False

    def close(self) -> None:
        """Follow no further."""
        if self._source is not None:
            self._source.close()


def default_source(environment: Mapping[str, str] = os.environ) -> IdentitySource:
    """Return the source that the environment names: the Workload API first, then files. Raises IdentityUnusable.

    1. SPIFFE_ENDPOINT_SOCKET: a SPIFFE Workload API (`smsgw agent`, SPIRE).
    2. SMSGW_SVID_FILE, SMSGW_SVID_KEY_FILE and SMSGW_BUNDLE_FILE together.
    """
    if environment.get(SOCKET_VARIABLE):
        return WorkloadIdentity(environment[SOCKET_VARIABLE])
    names = (SVID_VARIABLE, KEY_VARIABLE, BUNDLE_VARIABLE)
    given = [environment.get(name, "") for name in names]
    if all(given):
        return IdentityFiles(*given)
    missing = [name for name, value in zip(names, given, strict=True) if not value]
    if any(given):
        raise IdentityUnusable(f"set {' and '.join(missing)} too: an identity in files needs all three")
    raise IdentityUnusable(
        f"no identity: set {SOCKET_VARIABLE} to your host's SPIFFE Workload API, or {', '.join(names)}, or pass "
        "identity="
    )
