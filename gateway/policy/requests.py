"""The typed attributes of a request: what policies may be asked about, and in which form.

A `Question` holds everything that a decision depends on, besides the policies; it is the key of the cache as it stands.
`gateway.policy.vocabulary` names the same attributes, for those who write policies.
"""

from __future__ import annotations

import datetime as dt
import functools
import ipaddress
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote

from gateway.states import Category

USE_ROUTE = "UseRoute"
SEND_GROUP = "send"
SEND_ACTIONS: Mapping[int, str] = {
    Category.OTP: "SendOtp",
    Category.TRANSACTIONAL: "SendTransactional",
    Category.PROMOTIONAL: "SendPromotional",
}
ADMIN_GROUPS = "admin:"  # how the groups of administrative actions begin
PEER_GROUPS = "peer:"  # and those of actions of other nodes
MAX_PATH_SEGMENTS = 32  # of a SPIFFE ID: each is an entity of its own

_PEER = re.compile(r"(?:ipv4:(?P<v4>[0-9.]{7,15})|ipv6:\[(?P<v6>[^\]]{2,60})\]):[0-9]{1,5}")


class Measure(NamedTuple):
    """The size of a message, and of what it came in. Apart from the question's other parts since few sets read it, and
    it takes many values."""

    segments: int = 0  # 0: not known, since the caller has sealed the content
    sealed: bool = False  # whether it has
    batch: int = 0  # messages of the same request, this one included


UNMEASURED = Measure()


class Question(NamedTuple):
    """One request for a decision. A NamedTuple: a plain tuple in this order is the same key, and cheaper to make.

    What no policy can read stands as it does in `UNREAD`. The tenant is "" for who operates the node, and
    `gateway.admins.PEER_NAME` for another node.
    """

    action: str
    spiffe_id: str
    tenant: str
    carrier: str = ""  # of UseRoute: the route
    sender: str = ""  # of a send and of UseRoute
    category: int = 0  # of a send and of UseRoute
    country: str = ""  # of a send and of UseRoute: ISO 3166-1 alpha-2, "ZZ" for none that is known
    address: str = ""  # the client's, "" when it is not known
    weekday: int = 1  # ISO 8601: 1 is Monday
    minute: int = 0  # of the day, 0 to 1439
    measure: Measure = UNMEASURED  # of a send and of UseRoute, which has no batch


UNREAD = Question("", "", "")


class Moment(NamedTuple):
    """A time as policies see it."""

    weekday: int
    minute: int


class Calendar:
    """Turns times into moments of one time zone; the last minute is remembered."""

    def __init__(self, zone: dt.tzinfo = dt.UTC) -> None:
        self._zone = zone
        self._minute = -1
        self._moment = Moment(1, 0)

    def moment(self, now: int) -> Moment:
        """Return weekday and minute of the day at `now`, in microseconds since the Unix epoch."""
        minute = now // 60_000_000
        if minute != self._minute:
            local = dt.datetime.fromtimestamp(minute * 60, self._zone)
            self._moment = Moment(local.isoweekday(), local.hour * 60 + local.minute)
            self._minute = minute
        return self._moment


@functools.lru_cache(maxsize=4096)  # a connection has one peer for all of its calls
def client_address(peer: str) -> str:
    """Return the IP address in gRPC's name of a peer (`ipv4:10.0.0.1:5000`, `ipv6:%5B::1%5D:5000`), "" for none.

    It is written as Cedar reads it: IPv4 inside IPv6 as IPv4 (RFC 4291 §2.5.5.2), and without a zone (RFC 4007 §11).
    """
    found = _PEER.fullmatch(unquote(peer))
    if found is None:
        return ""
    try:
        return canonical_address(found["v4"] or found["v6"])
    except ValueError:
        return ""


def canonical_address(text: str) -> str:
    """Return an IP address in its one canonical form. Raises ValueError for anything else."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def path_entities(spiffe_id: str) -> tuple[str, ...]:
    """Return the prefixes of a SPIFFE ID by whole segments, its trust domain first and itself last.

    Raises ValueError for one of more than `MAX_PATH_SEGMENTS` segments: a policy about the rest would not be asked.
    """
    head, _, rest = spiffe_id.removeprefix("spiffe://").partition("/")
    segments = rest.split("/") if rest else []
    if len(segments) > MAX_PATH_SEGMENTS:
        raise ValueError(f"the SPIFFE ID has {len(segments)} segments; policies are asked about {MAX_PATH_SEGMENTS}")
    prefixes = [f"spiffe://{head}"]
    for segment in segments:
        prefixes.append(f"{prefixes[-1]}/{segment}")
    return tuple(prefixes)
