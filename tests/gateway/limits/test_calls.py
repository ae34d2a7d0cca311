"""The cheap buckets of identities and addresses."""

from __future__ import annotations

import pytest

from gateway.errors import Overloaded, RateLimited
from gateway.limits.calls import CALLS, CERTIFICATES, Buckets, host_of
from gateway.limits.rate import Rate

SECOND = 1_000_000


def test_each_key_has_its_own() -> None:
    """One key's tokens are not another's."""
    buckets = Buckets(CALLS, Rate.a_second(10, 2))
    buckets.take("a", 2, 0)
    with pytest.raises(RateLimited) as refused:
        buckets.take("a", 1, 0)
    buckets.take("b", 2, 0)
    assert (refused.value.limit, refused.value.reason, refused.value.retry_after_s) == (CALLS, "CALL_RATE", 0.1)
    buckets.take("a", 1, SECOND // 10)


def test_full() -> None:
    """With every bucket in use a new key is refused, and known ones are served; an idle one makes room."""
    buckets = Buckets(CERTIFICATES, Rate.a_second(1, 5), buckets=2)
    buckets.take("a", 5, 0)
    buckets.take("b", 1, 0)
    with pytest.raises(Overloaded) as refused:
        buckets.take("c", 1, 0)
    assert refused.value.reason == "LIMIT_TABLE_FULL"
    buckets.take("b", 1, 0)
    buckets.take("c", 1, 2 * SECOND)


@pytest.mark.parametrize(
    ("address", "host"),
    [("10.0.0.1", "10.0.0.1"), ("2001:db8::1", "2001:db8::/64"), ("2001:db8::ffff:2", "2001:db8::/64"),
     ("::ffff:10.0.0.1", "10.0.0.1"), ("", ""), ("unix", "unix")],
)  # fmt: skip
def test_hosts(address: str, host: str) -> None:
    """One host is an IPv4 address, or the /64 of an IPv6 one."""
    assert host_of(address) == host
