"""What a node's deny list is at the moment: for operators, metrics and the audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from gateway.revocation.calls import RevokedCalls
from gateway.revocation.entries import DenyList


class ListStatus:
    """Of one node. `source`: who signs it, "" when this node does. `signed_at` gives microseconds, 0 for never."""

    def __init__(self, calls: RevokedCalls, source: str, signed_at: Callable[[], int]) -> None:
        self._calls = calls
        self.source = source
        self._signed_at = signed_at
        self.deny = DenyList()
        self.digest = ""
        self.calls_cut = 0
        self.taken_up = 0
        self.refused = Counter[str]()  # lists that were not taken up, by the class of the error

    def in_force(self, deny: DenyList, digest: str, cut: int) -> None:
        """Note a list."""
        self.deny, self.digest = deny, digest
        self.calls_cut += cut
        self.taken_up += 1

    def not_read(self, error: Exception) -> None:
        """Note a list that was not taken up."""
        self.refused[type(error).__name__] += 1

    @property
    def entries(self) -> int:
        """How many there are in the list in force."""
        return len(self.deny.entries)

    @property
    def version(self) -> int:
        """Of the list in force."""
        return self.deny.version

    @property
    def stale(self) -> bool:
        """Whether the node refuses, since its list is too old."""
        return self._calls.stale

    def snapshot(self) -> dict[str, object]:
        """Return what `smsgw status` shows."""
        return {
            "version": self.version,
            "entries": self.entries,
            "digest": self.digest,
            "signed_at": self.signed_at,
            "stale": self.stale,
            "follows": self.source,
        }

    @property
    def signed_at(self) -> int:
        """When the list in force was signed last."""
        return self._signed_at()
