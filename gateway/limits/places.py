"""The places of calls: how many a node has open at a time, who may have how many, and whose answers nobody fetches.

A call takes its place when its headers are in, before its request is read, and gives it back when its answer is made.

- An identity has a fixed number of places.
- A tenant has at most as many as are left free. So a tenant that takes all that it can get has half of them, n such
  tenants leave one in n + 1 to all others, and there is always room for one more tenant: nobody can hold them all.

What has been answered or refused is *leaving* until gRPC is through with it: a peer that does not read what it is sent
can hold that up for as long as it likes. So leaving calls are counted by connection, and when there are too many, the
connection that has most of them is ended.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.errors import Overloaded

_RETRY_AFTER_S = 1.0


class CallPlaces:
    """The places of one node. Belongs to one event loop."""

    __slots__ = ("_of_identity", "_of_tenant", "_per_identity", "_total", "taken")

    def __init__(self, *, total: int, per_identity: int) -> None:
        """Args:
        total: how many there are.
        per_identity: how many of them one identity may have at a time.
        """
        self._total = total
        self._per_identity = per_identity
        self._of_identity: dict[str, int] = {}  # both bounded by `total`
        self._of_tenant: dict[str, int] = {}
        self.taken = 0

    def use(self, per_identity: int) -> None:
        """Let one identity have so many from now on; those that it has, it keeps."""
        self._per_identity = per_identity

    def take(self, spiffe_id: str, tenant: str) -> None:
        """Take a place. Raises Overloaded (TOO_MANY_CALLS, TENANT_CALLS)."""
        count = self._of_identity.get(spiffe_id, 0)
        if count >= self._per_identity:
            raise Overloaded(
                f"{count} calls of this caller are open: close some, or wait for their answers",
                retry_after_s=_RETRY_AFTER_S,
                reason="TOO_MANY_CALLS",
            )
        of_tenant = self._of_tenant.get(tenant, 0)
        if of_tenant >= self._total - self.taken:
            raise Overloaded(
                f"{of_tenant} calls of this tenant are open, and no more are left for all others: close some, "
                "or wait for their answers",
                retry_after_s=_RETRY_AFTER_S,
                reason="TENANT_CALLS",
            )
        self._of_identity[spiffe_id] = count + 1
        self._of_tenant[tenant] = of_tenant + 1
        self.taken += 1

    def give_back(self, spiffe_id: str, tenant: str) -> None:
        """Give back a place that was taken."""
        self.taken -= 1
        _one_less(self._of_identity, spiffe_id)
        _one_less(self._of_tenant, tenant)


class LeavingCalls:
    """Calls that are answered or refused, until gRPC is through with them. Belongs to one event loop."""

    __slots__ = ("_ending", "_limit", "_of_peer", "count", "end")

    def __init__(self, limit: int, end: Callable[[str], None]) -> None:
        """Args:
        limit: how many there may be.
        end: ends the connection of a peer, soon: then the calls over it are gone.
        """
        self._limit = limit
        self.end = end
        self._of_peer: dict[str, int] = {}  # those that have waited longest first
        self._ending: dict[str, int] = {}  # of connections that are being ended
        self.count = 0  # without those of connections that are being ended

    def add(self, peer: str) -> None:
        """A call over the connection that gRPC names `peer` is leaving."""
        if peer in self._ending:
            self._ending[peer] += 1
            return
        self._of_peer[peer] = self._of_peer.get(peer, 0) + 1
        self.count += 1
        if self.count > self._limit:
            self._end_worst()

    def remove(self, peer: str) -> None:
        """gRPC is through with a call that was leaving."""
        if peer in self._ending:
            _one_less(self._ending, peer)
        else:
            _one_less(self._of_peer, peer)
            self.count -= 1

    def _end_worst(self) -> None:
        worst = max(self._of_peer, key=self._of_peer.__getitem__)
        count = self._of_peer.pop(worst)
        self._ending[worst] = count
        self.count -= count
        self.end(worst)


def _one_less(counts: dict[str, int], key: str) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
