"""What `smsgw check` found of one thing."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One look: `problem` and `advice` are empty when all is well, and `found` says what is there."""

    subject: str
    found: str
    problem: str = ""
    advice: str = ""

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return not self.problem
