"""The life of an authority, as a table: what it is now, and what it may become.

    STANDBY ── activate ──► ACTIVE ── activate another ──► RETIRED ── revoke ──► REVOKED
       └────────── taint ──────┴──────────── taint ───────────┴──► TAINTED ── revoke ──┘

Roots begin as ACTIVE: whichever root signed the active intermediate is in use, and every root that is not revoked is in
the bundle. Intermediates begin as STANDBY, and one at a time is ACTIVE.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from certs.errors import AuthorityError, Reason


class Kind(enum.StrEnum):
    """What an authority signs."""

    ROOT = "root"  # intermediates
    INTERMEDIATE = "intermediate"  # X.509-SVIDs


class State(enum.StrEnum):
    """What an authority is now."""

    STANDBY = "standby"  # signed in advance; signs nothing yet
    ACTIVE = "active"
    RETIRED = "retired"  # signs no more; what it signed stays valid to its end
    TAINTED = "tainted"  # its key may be in other hands: everything it signed is replaced now
    REVOKED = "revoked"  # out of use for good; its key is destroyed, a root is out of the bundle


TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.STANDBY: frozenset({State.ACTIVE, State.TAINTED, State.REVOKED}),
    State.ACTIVE: frozenset({State.RETIRED, State.TAINTED}),
    State.RETIRED: frozenset({State.TAINTED, State.REVOKED}),
    State.TAINTED: frozenset({State.REVOKED}),
    State.REVOKED: frozenset(),
}


def require_transition(key_id: str, before: State, after: State) -> None:
    """Raise AuthorityError unless an authority may go from `before` to `after`."""
    if after not in TRANSITIONS[before]:
        allowed = ", ".join(sorted(TRANSITIONS[before])) or "nothing else"
        raise AuthorityError(
            f"authority {key_id} is {before}: it can become {allowed}, and not {after}", reason=Reason.AUTHORITY_STATE
        )
