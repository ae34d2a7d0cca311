"""What a workload holds while it follows a Workload API, and what each turn of events makes of it.

Good states replace good states; nothing else does. A message that cannot be used, an agent that is away, leave what is
held as it was, for as long as it lasts. An identity is given up in one case: the Workload API says again and again, for
ten seconds, that this process has none (Workload API §5.2.1). One such answer is not enough, since an agent that has
just started may not know better (Workload Endpoint §6).

It is sans-IO: octets, ends of streams, times and chances in; what is held, and how long to wait, out. `source` and
`blocking` carry the octets. One thread drives it; what is held may be read on any.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from certs.bundle import TrustBundles
from certs.errors import CertsError, NoIdentity
from certs.spiffe_id import TrustDomain
from certs.svid import X509Svid
from certs.workload.messages import read_offer
from certs.workload.state import Pick, WorkloadState, state_of

ANSWER_S: Final = 10.0  # how long the first message of a stream may take: it is to come at once (Workload API §4.3)
RETRY_MIN_S: Final = 0.25
RETRY_MAX_S: Final = 30.0
DENIED_FOR_S: Final = 10.0
_DENIED_RETRY_MAX_S: Final = 3.0  # it is asked often whether that is so, ...
_OFTEN: Final = 30  # ... for about a minute
_RENEWAL_DUE: Final = 0.75  # of a validity: by then a new SVID should have come, and the stream is opened anew
_MAX_SILENCE_S: Final = 3600.0
_FATAL: Final = frozenset({"INVALID_ARGUMENT", "UNIMPLEMENTED"})  # Workload Endpoint, appendix A: no retry
_LOG = logging.getLogger(__name__)


class Standing(enum.StrEnum):
    """How it stands with the Workload API."""

    STARTING = "starting"  # nothing has been heard yet
    FOLLOWING = "following"  # the last message is what is held
    AWAY = "away"  # it cannot be reached, or says that it cannot answer now
    REFUSED = "refused"  # its last message could not be used
    DENIED = "denied"  # it says that this process has no identity
    STOPPED = "stopped"  # it says that it never will answer this client: nothing is tried any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What of the state is another now."""

    svid: bool
    bundles: bool


@dataclass(frozen=True, slots=True)
class _Held:
    """One state, read as one."""

    version: int
    state: WorkloadState | None


def accept_any(state: WorkloadState) -> None:
    """Accept every good state."""
    del state


class Following:
    """The identity of this process as a Workload API gives it; the shape of `certs.tls.SvidSource`.

    `bundles` is what is trusted: the own trust domain's bundle, and of the others those in `federated`, all of them
    when that is None.
    """

    def __init__(
        self,
        pick: Pick | None = None,
        federated: frozenset[TrustDomain] | None = None,
        accept: Callable[[WorkloadState], None] = accept_any,
    ) -> None:
        """Args:
        pick: which identity of several; the default one when left out.
        federated: which other trust domains' bundles are trusted; all that come when None.
        accept: raises a CertsError for a state that is good, and of no use here: then it is not taken up.
        """
        self.bundles = TrustBundles()
        self.standing = Standing.STARTING
        self.trouble = ""
        self._pick = pick or Pick()
        self._wanted = federated
        self._accept = accept
        self._held = _Held(0, None)
        self._told: list[Callable[[Change], None]] = []
        self._failures = 0
        self._answered = False  # on this stream
        self._denied_since: float | None = None

    @property
    def svid(self) -> X509Svid:
        """The SVID to present now. Raises NoIdentity while there is none; it may have expired, see `expires_at`."""
        return self._state().svid

    @property
    def version(self) -> int:
        """A number that grows with every change of `svid`; 0 before the first."""
        return self._held.version

    @property
    def expires_at(self) -> dt.datetime:
        """The last second in which the SVID, and every authority on its path, is valid, UTC. Raises NoIdentity."""
        return self._state().valid_until

    @property
    def hint(self) -> str:
        """What the Workload API says the identity is for; empty for nothing. Raises NoIdentity."""
        return self._state().hint

    @property
    def has_identity(self) -> bool:
        """Whether there is an SVID."""
        return self._held.state is not None

    def subscribe(self, told: Callable[[Change], None]) -> Callable[[], None]:
        """Call `told` after each change, on whatever drives this; returns what ends that."""
        self._told.append(told)

        def end() -> None:
            with contextlib.suppress(ValueError):
                self._told.remove(told)

        return end

    def opened(self) -> None:
        """Hear that a stream begins."""
        self._answered = False

    def received(self, octets: bytes, now: dt.datetime, monotonic_s: float) -> None:
        """Take over a message, if it can be used."""
        self._answered = True
        before = self._held.state
        try:
            state = state_of(read_offer(octets), self._pick, before, now, self._wanted)
            self._accept(state)
        except NoIdentity as refused:  # there are identities, and not ours: redacted, as if all were
            self._denied(str(refused), monotonic_s)
        except CertsError as refused:
            self._denied_since = None
            self._fail(Standing.REFUSED, f"what it sent cannot be used: {refused}")
        else:
            self._denied_since, self._failures = None, 0
            self._stand(Standing.FOLLOWING, "; ".join(state.complaints))
            self._take(state)

    def ended(self, code: str, details: str, monotonic_s: float) -> None:
        """Hear that a stream has ended: the name of its gRPC code, and the text with it."""
        said = f"{code}: {ascii(details[:300])[1:-1]}" if details else code
        if code == "OK" and self._answered and self.standing is Standing.FOLLOWING:
            return  # it may end at any time (Workload API §4.2)
        if code == "PERMISSION_DENIED":
            self._denied(f"this process has no identity there ({said})", monotonic_s)
        elif code in _FATAL:
            self._fail(Standing.STOPPED, f"it does not serve this client, and is not asked again ({said})")
        else:
            self._denied_since = None
            self._fail(Standing.AWAY, f"it cannot be reached ({said})")

    def failed(self) -> None:
        """Hear that a stream ended by a defect here, which has been logged."""
        self._denied_since = None
        self._fail(Standing.AWAY, "an unexpected error, see the log")

    def overdue(self) -> None:
        """Hear that nothing came for as long as `patience_s` said: the stream is to be opened anew."""
        if not self._answered:
            self._denied_since = None
            self._fail(Standing.AWAY, f"it did not answer within {ANSWER_S:g} s")

    def patience_s(self, now: dt.datetime) -> float:
        """Return how long to wait for the next message of this stream, in seconds."""
        state = self._held.state
        if not self._answered:
            return ANSWER_S
        if self.standing is not Standing.FOLLOWING or state is None:
            return self._longest_pause_s()
        facts = state.svid.facts
        due = facts.not_before + (state.valid_until - facts.not_before) * _RENEWAL_DUE
        return min(max((due - now).total_seconds(), RETRY_MAX_S), _MAX_SILENCE_S)

    def pause_s(self, chance: float) -> float:
        """Return how long to wait before the next stream, in seconds; `chance` is random, at least 0 and below 1."""
        longest = min(RETRY_MIN_S * float(2 ** min(self._failures, 16)), self._longest_pause_s())
        return longest * (0.5 + chance / 2)

    def why_not(self) -> str:
        """Return why there is no identity, for people."""
        return self.trouble or "it has not answered yet"

    def _longest_pause_s(self) -> float:
        often = self.standing is Standing.DENIED and self._failures < _OFTEN
        return _DENIED_RETRY_MAX_S if often else RETRY_MAX_S

    def _state(self) -> WorkloadState:
        state = self._held.state
        if state is None:
            raise NoIdentity(f"the Workload API has given no identity: {self.why_not()}")
        return state

    def _denied(self, text: str, monotonic_s: float) -> None:
        if self._denied_since is None:
            self._denied_since = monotonic_s
        self._fail(Standing.DENIED, text)
        if monotonic_s - self._denied_since >= DENIED_FOR_S and self._held.state is not None:
            _LOG.error("workload_identity_withdrawn", extra={"why": text})
            self._take(None)

    def _fail(self, standing: Standing, trouble: str) -> None:
        self._failures += 1
        self._stand(standing, trouble)

    def _stand(self, standing: Standing, trouble: str) -> None:
        if (standing, trouble) != (self.standing, self.trouble):
            level = logging.WARNING if trouble else logging.INFO
            _LOG.log(level, "workload_api", extra={"standing": standing.value, "why": trouble})
        self.standing, self.trouble = standing, trouble

    def _take(self, state: WorkloadState | None) -> None:
        """Hold another state, and tell what is another in it: bundles first, so that a new SVID finds its own."""
        before = self._held
        bundles = [] if state is None else [state.bundle, *state.federated]
        change = Change(
            svid=_svid(state) != _svid(before.state),
            bundles=sorted(bundles, key=lambda bundle: bundle.trust_domain) != list(self.bundles.all()),
        )
        if change.bundles:
            self.bundles.replace(bundles)
        self._held = _Held(before.version + change.svid, state)
        if change.svid or change.bundles:
            self._tell(change)

    def _tell(self, change: Change) -> None:
        for told in tuple(self._told):
            try:
                told(change)
            except Exception:
                _LOG.exception("a listener of the identity failed")


def _svid(state: WorkloadState | None) -> X509Svid | None:
    return None if state is None else state.svid
