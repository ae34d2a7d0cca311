"""How authorities date certificates, and what follows for an identity that is revoked with the certificates it has.

When a certificate was issued is not in it, only from when on it counts, and authorities date that back so that peers
whose clocks are behind accept it. One that was issued at the moment of the revocation began by the backdating earlier:
up to there certificates are refused, and those that begin later were issued later. An authority's clock may be ahead of
ours, so the moment is taken a little later than it was: a certificate of the next seconds is refused as well, and its
workload asks for another one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gateway.revocation.entries import NEVER

CLOCK = 2_000_000  # by how much an authority's clock may be ahead of ours


class Dated(NamedTuple):
    """How an issuer dates certificates, in microseconds: backdating, and the longest life of one (NEVER: unknown)."""

    backdating: int = 0
    longest: int = NEVER


Dating = Callable[[str], Dated]  # by trust domain


def cutoff_of(dated: Dated, revoked_at: int) -> tuple[int, int]:
    """Return up to when certificates are refused that became valid before, and when the last of them has expired."""
    cutoff = max(0, revoked_at + CLOCK - dated.backdating)
    return cutoff, NEVER if dated.longest == NEVER else cutoff + dated.longest
