"""The part of the store's contract by which nodes share one database: who is there, and what they tell each other.

A node on a database of its own is `Alone`: it holds everything for ever, and nobody tells it anything.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from gateway.states import Category


class News(enum.Enum):
    """What a node hears from the database, or from the other nodes by way of it."""

    EVENTS = "e"  # events were committed by another node, of the tenants that are named, or of any
    WAITING = "w"  # messages wait that this node may take
    HOLDS = "h"  # operators have changed what is held back
    PEERS = "p"  # nodes came or went
    ORPHANS = "o"  # a node has lost what it had in its hands: `recover` moves it on
    GONE = "g"  # this node has fenced one whose lease had run out
    LOST = "l"  # this node has lost its lease: what it had in its hands is others'
    BACK = "b"  # it has a new one


class Recovered(NamedTuple):
    """What `recover` found: how many messages were in memory, and how many in doubt."""

    reclaimed: int
    in_doubt: int


class Peer(NamedTuple):
    """A node that is registered."""

    no: int  # names the registration: a node that has lost its lease has another one afterwards
    name: str


# Called in the event loop; the names are those of tenants, and none means any.
NewsListener = Callable[[News, frozenset[str]], None]


class Membership(Protocol):
    """A node among others on the same database."""

    def may_write(self) -> bool:
        """Say whether the node may give messages to carriers: its lease holds, and will for a moment."""

    @property
    def peers(self) -> Sequence[Peer]:
        """The nodes that are registered, this one among them, in the order of their numbers; () where it is alone."""

    @property
    def number(self) -> int:
        """The number of this node's registration; 0 where it is alone."""

    def listen(self, listener: NewsListener) -> None:
        """Tell `listener` what happens."""

    def tell(self, news: News, names: frozenset[str] = frozenset()) -> None:
        """Tell the other nodes, soon; what is told at the same time goes together."""

    def register_again(self) -> None:
        """After LOST, once everything is put down that the node had in its hands: take a new lease. BACK follows."""


# Names of carriers that a node can use at the moment; None: the node is alone, and takes everything.
Carriers: TypeAlias = frozenset[str] | None


class Released(NamedTuple):
    """A claimed message that this node gives back. `ways`: the carriers that can send it, "" when nobody knows."""

    tenant: str
    id: bytes
    ways: str


def ways_of(carriers: Iterable[str]) -> str:
    """Return what a set of carriers is called in the store."""
    return "\n".join(sorted(set(carriers)))


def can_send(ways: str, carriers: frozenset[str]) -> bool:
    """Say whether one of `carriers` can send a message of these ways."""
    return not ways or not carriers.isdisjoint(ways.split("\n"))


class Slots(NamedTuple):
    """The numbers of a carrier's binds that are this node's, and of those that it is to let go (`free_slots`) when
    they are ended. `short`: others have some of its share, and do not know yet."""

    held: tuple[int, ...]
    surplus: tuple[int, ...]
    short: bool = False


class SlotStore(Protocol):
    """The part of the store by which nodes share the binds of carriers."""

    async def claim_slots(self, carrier: str, total: int) -> Slots:
        """Take what is free of this node's share of the `total` binds of a carrier: all of them where it is alone."""

    async def free_slots(self, carrier: str, numbers: Sequence[int], *, leave: bool = False) -> None:
        """Let binds go. `leave`: this node wishes for none any more."""


class SharedStore(SlotStore, Protocol):
    """What `Store` does for nodes that share it."""

    @property
    def membership(self) -> Membership:
        """This node among the others."""

    async def take_over(self, now: int, resend: frozenset[Category]) -> Recovered:
        """Move on what nodes that are gone had in their hands, as `recover` does at a start (causes "resend.node_lost",
        "doubt.node_lost")."""

    async def rejoin(self, since: int, limit: int) -> int:
        """Match up to `limit` receipts that came after `since` and were kept, though their carrier id is known: it was
        learned by another node in the same moment. Returns how many carrier ids were looked at."""

    async def release(self, batch: Sequence[Released]) -> int:
        """Give claimed messages back to their waiting queue, for nodes that have the carriers or for later; returns how
        many were this node's to give."""


class Alone:
    """The membership of a node that has its database for itself."""

    peers: Sequence[Peer] = ()
    number = 0

    def may_write(self) -> bool:
        """Nobody else does."""
        return True

    def listen(self, listener: NewsListener) -> None:
        """There is nothing to hear."""

    def tell(self, news: News, names: frozenset[str] = frozenset()) -> None:
        """There is nobody to tell."""

    def register_again(self) -> None:
        """There is nothing to lose."""
