"""The cheap buckets: of each identity for its calls, of each address for certificates not known yet, and handshakes.

The first is asked right after a caller has been recognised, before anything costly. The second is asked before a
certificate is verified whose verdict is not remembered, which costs as much as three messages: whoever presents
certificates that are refused pays that each time.
"""

from __future__ import annotations

import functools
import ipaddress

from gateway.limits.rate import Rate
from gateway.limits.refusals import refusal, table_full
from gateway.limits.table import Table, TableFull
from gateway.limits.token_bucket import TokenBucket

CALLS = "calls_per_caller"
CERTIFICATES = "unknown_certificates_per_address"
HANDSHAKES = "handshakes_per_address"
DEFAULT_BUCKETS = 65_536
_NETWORK_BITS = 64  # of an IPv6 address: what one host can have as many addresses as it likes in (RFC 4291 §2.5.4)


class Buckets:
    """A token bucket for each key, all of one rate. Belongs to one event loop."""

    __slots__ = ("_limit", "_rate", "_table")

    def __init__(self, limit: str, rate: Rate, *, buckets: int = DEFAULT_BUCKETS) -> None:
        """Args:
        limit: the name of the limit: `CALLS`, `CERTIFICATES` or `HANDSHAKES`.
        rate: of each key.
        buckets: how many keys are remembered at a time.
        """
        self._limit = limit
        self._rate = rate
        self._table: Table[str, TokenBucket] = Table(buckets, TokenBucket.idle)

    def take(self, key: str, tokens: int, now: int) -> None:
        """Take `tokens` from the bucket of `key`, `now` in microseconds.

        Raises RateLimited when it has not so many, and Overloaded (LIMIT_TABLE_FULL) when the key is not known and
        there is no room for it.
        """
        bucket = self._table.states.get(key)
        if bucket is None:
            try:
                bucket = self._table.add(key, TokenBucket(self._rate, now), now)
            except TableFull:
                raise table_full() from None
        wait = bucket.take(tokens, now)
        if wait:
            raise refusal(self._limit, self._rate, wait)


@functools.lru_cache(maxsize=4096)
def host_of(address: str) -> str:
    """Return what stands for one host: an IPv4 address, the /64 network of an IPv6 one, or the text as it is."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped or ipaddress.IPv6Network((found, _NETWORK_BITS), strict=False))
