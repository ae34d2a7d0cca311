"""The part of the store's contract by which what happened at a time is found in the audit."""

from __future__ import annotations

from typing import Protocol


class HistoryStore(Protocol):
    """See `gateway.store.contract` for what holds of every call."""

    async def audit_before(self, at: int) -> int:
        """Return the seq before the first commit of the audit that was made at `at` or later (microseconds since the
        Unix epoch). Commits are taken to be in the order of their times, which they are but for steps of a clock."""
