"""How often each caller may call: GCRA, one number a caller, in a bounded table.

It takes the time and reads no clock. A caller that cannot be remembered is refused: a limiter that forgets under load
is none. Callers are SPIFFE IDs where these are known, else addresses.
"""

from __future__ import annotations

import ipaddress
import re
import threading
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from certs.errors import AuthorityError, RateExceeded

MAX_CALLERS: Final = 20_000
_SWEEP_S: Final = 1.0  # a full table is swept so often at the most
_TELL_S: Final = 10.0  # refusals are told so often at the most
_RATE: Final = re.compile(r"([1-9][0-9]{0,5})/(s|m|h)(?::([1-9][0-9]{0,5}))?", re.ASCII)
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many calls in the long run, and so many at once.

    Attributes:
        per_s: calls a second, greater than 0.
        burst: calls at once after a pause, 1 or more.
    """

    per_s: float
    burst: int

    def __str__(self) -> str:
        return f"{self.per_s:g}/s:{self.burst}"


CALLERS: Final = Rate(per_s=50.0, burst=500)  # a node that starts has all its workloads' SVIDs issued
JOINING: Final = Rate(per_s=1.0, burst=20)  # hosts behind one address
EVERYBODY: Final = Rate(per_s=50.0, burst=500)  # who join, together: so that many addresses leave room for nodes


def parse_rate(text: str) -> Rate:
    """Return the rate that a text such as 50/s, 30/m or 50/s:500 (rate and burst) says. Raises AuthorityError.

    Without a burst it is ten seconds' worth, and 1 at least.
    """
    found = _RATE.fullmatch(text.strip())
    if not found:
        raise AuthorityError(f"{text[:20]!a} is no rate: write calls per s, m or h, and how many at once, as 50/s:500")
    per_s = int(found[1]) / _SECONDS[found[2]]
    return Rate(per_s=per_s, burst=int(found[3]) if found[3] else max(1, int(per_s * 10)))


class Limiter:
    """Admits calls of each caller by one rate. Safe to use from several threads."""

    def __init__(self, rate: Rate, *, max_callers: int = MAX_CALLERS) -> None:
        self._step_s, self._reach_s = 1.0 / rate.per_s, (rate.burst - 1) / rate.per_s
        self._max_callers = max_callers
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}  # when the caller's last call would have been, at the pace of the rate
        self._swept_at = float("-inf")
        self._told_at, self._untold = float("-inf"), 0

    def admit(self, caller: str, now_s: float) -> None:
        """Count a call at `now_s`, monotonic seconds. Raises RateExceeded, uncounted, with the wait."""
        with self._lock:
            due = self._due.get(caller)
            if due is None and not self._has_room(now_s):
                self._refuse("too many callers at once", self._step_s)
            due = max(now_s, due if due is not None else now_s)
            wait_s = due - now_s - self._reach_s
            if wait_s > 1e-9:
                self._refuse("more calls than this caller may make", wait_s)
            self._due[caller] = due + self._step_s

    def refused_since(self, now_s: float) -> int:
        """Return how many refusals are to be told now: 0 while the last were told less than ten seconds ago."""
        with self._lock:
            if not self._untold or now_s - self._told_at < _TELL_S:
                return 0
            count, self._untold, self._told_at = self._untold, 0, now_s
            return count

    def _has_room(self, now_s: float) -> bool:
        """Make room by forgetting whoever has nothing to wait for, which changes nothing for him."""
        if len(self._due) < self._max_callers:
            return True
        if now_s - self._swept_at < _SWEEP_S:
            return False
        self._swept_at = now_s
        self._due = {caller: due for caller, due in self._due.items() if due > now_s}
        return len(self._due) < self._max_callers

    def _refuse(self, why: str, wait_s: float) -> None:
        self._untold += 1
        raise RateExceeded(f"{why}: wait {wait_s:.1f} s", retry_after_s=wait_s)


def address_of(peer: str) -> str:
    """Return whom a connection counts for, by gRPC's name of its peer: an IPv4 address, or the /64 of an IPv6 one.

    Other peers count as one.
    """
    kind, _, rest = peer.partition(":")
    host = unquote(rest).rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return kind
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)
