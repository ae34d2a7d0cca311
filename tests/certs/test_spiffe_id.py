"""The grammar of SPIFFE IDs: SPIFFE-ID §2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.errors import BadSpiffeId, Reason
from certs.spiffe_id import MAX_ID_BYTES, SpiffeId, TrustDomain

DOMAINS = st.text(alphabet="abcz019.-_", min_size=1, max_size=30)
SEGMENTS = st.text(alphabet="abzAZ09.-_", min_size=1, max_size=12).filter(lambda text: text not in {".", ".."})
ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_/")

REFUSED = {
    "empty": "",
    "no scheme": "example.org/x",
    "other scheme": "https://example.org/x",
    "upper-case scheme": "SPIFFE://example.org/x",
    "upper-case domain": "spiffe://EXAMPLE.org/x",
    "no domain": "spiffe:///x",
    "port": "spiffe://example.org:8443/x",
    "user": "spiffe://me@example.org/x",
    "query": "spiffe://example.org/x?a=b",
    "fragment": "spiffe://example.org/x#a",
    "query without path": "spiffe://example.org?a",
    "trailing slash": "spiffe://example.org/x/",
    "root path": "spiffe://example.org/",
    "empty segment": "spiffe://example.org/x//y",
    "dot segment": "spiffe://example.org/./x",
    "dot-dot segment": "spiffe://example.org/x/..",
    "percent-encoding": "spiffe://example.org/%61",
    "space": "spiffe://example.org/a b",
    "newline at the end": "spiffe://example.org/x\n",
    "newline after the domain": "spiffe://example.org\n",
    "null": "spiffe://example.org/x\x00",
    "non-ASCII letter": "spiffe://example.org/é",
    "non-ASCII digit": "spiffe://example.org/٣",
    "non-ASCII domain": "spiffe://exämple.org/x",
    "IPv6 domain": "spiffe://[::1]/x",
    "domain of 256": "spiffe://" + "a" * 256 + "/x",
    "2,049 bytes": "spiffe://example.org/" + "a" * (MAX_ID_BYTES - 20),
    "leading space": " spiffe://example.org/x",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_refuses_what_is_not_in_the_grammar(text: str) -> None:
    """Each text that is nearly a SPIFFE ID is refused, with the stable reason."""
    with pytest.raises(BadSpiffeId) as refused:
        SpiffeId.parse(text)
    assert refused.value.reason is Reason.BAD_SPIFFE_ID


@given(DOMAINS, st.lists(SEGMENTS, max_size=5))
def test_round_trip(domain: str, segments: list[str]) -> None:
    """Whatever the grammar allows is read, and written as the same text."""
    text = f"spiffe://{domain}" + "".join(f"/{segment}" for segment in segments)
    parsed = SpiffeId.parse(text)
    assert str(parsed) == text
    assert parsed.segments == tuple(segments)
    assert parsed == SpiffeId(TrustDomain(domain), parsed.path)


@given(st.one_of(st.text(max_size=60), st.text(max_size=60).map("spiffe://".__add__)))
def test_never_accepts_anything_else(text: str) -> None:
    """Any text is either refused with BadSpiffeId or obeys the rules, stated here in another way."""
    try:
        parsed = SpiffeId.parse(text)
    except BadSpiffeId:
        return
    rest = text.removeprefix("spiffe://")
    assert set(rest) <= ALLOWED
    assert rest.split("/")[0] == rest.split("/")[0].lower() != ""
    assert not {"", ".", ".."} & set(rest.split("/")[1:])
    assert str(parsed) == text


def test_longest() -> None:
    """An ID of exactly 2,048 bytes, and a trust domain of exactly 255, are accepted."""
    text = "spiffe://" + "d" * 255 + "/"
    assert len(str(SpiffeId.parse(text + "p" * (MAX_ID_BYTES - len(text))))) == MAX_ID_BYTES


def test_trust_domain_itself() -> None:
    """The ID of a trust domain has an empty path and no segments."""
    parsed = SpiffeId.parse("spiffe://example.org")
    assert (parsed.trust_domain.name, parsed.path, parsed.segments) == ("example.org", "", ())
    assert parsed.trust_domain.spiffe_id == str(parsed)


@pytest.mark.parametrize("path", ["x", "/", "/a/", "//", "/a?b", "/ä"])
def test_an_instance_is_always_valid(path: str) -> None:
    """A SpiffeId cannot be built around a bad path either."""
    with pytest.raises(BadSpiffeId):
        SpiffeId(TrustDomain("example.org"), path)


def test_error_escapes_what_a_peer_sent() -> None:
    """The message of a refusal holds no control character and no long text of the peer's."""
    with pytest.raises(BadSpiffeId) as refused:
        SpiffeId.parse("spiffe://example.org/\x1b[31m" + "x" * 1000)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300
