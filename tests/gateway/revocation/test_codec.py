"""The signed form: it goes round, has one form, and nothing else is read as it."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.revocation import codec
from gateway.revocation.codec import HEAD_BYTES, MAX_BODY_BYTES, SignedList, encode_body, open_body, read, verify
from gateway.revocation.entries import FOR_GOOD, DenyList, Entry, Queued, What
from gateway.revocation.errors import BadDenyList, BadEntry, DenyListError, DenyListFull, ForgedDenyList
from tests.gateway.revocation.samples import (
    KEY,
    KEYS,
    NOW,
    OTHER_KEY,
    SECOND,
    authority,
    certificate,
    deny_list,
    identity,
    signed,
)

HEX = "0123456789abcdef"
TIMES = st.integers(0, (1 << 63) - 1)
NAMES: dict[What, st.SearchStrategy[Any]] = {
    What.CERTIFICATE: st.fixed_dictionaries(
        {
            "serial": st.from_regex("[1-9a-f][0-9a-f]{0,39}", fullmatch=True),
            "authority_key_id": st.from_regex("[0-9a-f]{2,40}", fullmatch=True),
        }
    ),
    What.IDENTITY: st.fixed_dictionaries({"cutoff": TIMES | st.just(FOR_GOOD)}),
    What.AUTHORITY: st.fixed_dictionaries({"key_hash": st.text(HEX, min_size=64, max_size=64)}),
}
SPIFFE_IDS = st.from_regex(r"spiffe://[a-z]{1,9}/[a-z]{1,9}", fullmatch=True)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Draw an entry of any kind."""
    what = draw(st.sampled_from(What))
    named: dict[str, Any] = draw(NAMES[what])
    fields: dict[str, Any] = dict(named)
    if what is What.IDENTITY or (what is What.CERTIFICATE and draw(st.booleans())):
        fields["spiffe_id"] = draw(SPIFFE_IDS)
    return Entry(
        id=draw(st.text(HEX, min_size=8, max_size=8)),
        what=what,
        revoked_at=draw(TIMES),
        ends_at=draw(TIMES),
        queued=draw(st.sampled_from(Queued)),
        by=draw(st.just("") | SPIFFE_IDS),
        reason=draw(st.text(max_size=50).filter(lambda text: text.isprintable())),
        **fields,
    )


LISTS = st.builds(
    lambda found, version: DenyList(version=version, entries=tuple(found)),
    st.lists(entries(), max_size=6, unique_by=(lambda entry: entry.id, lambda entry: entry.name)),
    TIMES,
)


@given(LISTS)
def test_the_signed_form_goes_round(deny: DenyList) -> None:
    """What is signed is what is read, with its version and its times."""
    head, found = read(b"".join(signed(deny)), KEYS)
    assert found == deny
    assert (head.version, head.issued_at, head.expires_at) == (deny.version, NOW, NOW + 60 * SECOND)


@settings(max_examples=200)
@given(LISTS, st.data())
def test_no_changed_octet_is_read(deny: DenyList, data: st.DataObject) -> None:
    """Whichever octet is changed, added or left out, the list is refused by one of the documented errors."""
    whole = bytearray(b"".join(signed(deny)))
    at = data.draw(st.integers(0, len(whole) - 1))
    how = data.draw(st.sampled_from(["flip", "cut", "insert"]))
    if how == "flip":
        whole[at] ^= data.draw(st.integers(1, 255))
    elif how == "cut":
        del whole[at:]
    else:
        whole.insert(at, data.draw(st.integers(0, 255)))
    if bytes(whole) == b"".join(signed(deny)):
        return  # an octet inserted beside its like
    with pytest.raises((BadDenyList, ForgedDenyList)):
        read(bytes(whole), KEYS)


@given(st.binary(max_size=400))
def test_foreign_octets_raise_the_documented_error(octets: bytes) -> None:
    """Whatever they are, there is no other error, and no empty list by accident."""
    with pytest.raises(BadDenyList):
        read(octets, KEYS)


@given(st.binary(max_size=200), st.integers(0, 4))
def test_a_signed_body_that_is_none_raises_the_documented_error(body: bytes, number: int) -> None:
    """Not even whoever holds the key makes the reader fail otherwise."""
    head = codec.sign(DenyList(version=1, entries=(identity(),) * number), body, KEY, issued_at=0, expires_at=1)
    try:
        found = open_body(verify(head, KEYS), body)
    except BadDenyList:
        return
    assert encode_body(found) == body


def test_another_key_is_refused() -> None:
    """One that is not pinned is named; one that pretends to be pinned is found out."""
    deny = deny_list(identity())
    with pytest.raises(ForgedDenyList, match="not pinned"):
        read(b"".join(signed(deny, OTHER_KEY)), KEYS)
    head = bytearray(signed(deny, OTHER_KEY).head)
    head[5:37] = signed(deny).head[5:37]  # the pinned key's id over the other key's signature
    with pytest.raises(ForgedDenyList, match="signature"):
        verify(bytes(head), KEYS)
    assert verify(signed(deny, OTHER_KEY).head, [*KEYS, OTHER_KEY.public_key()]).version == deny.version


def test_the_body_of_another_list_is_refused() -> None:
    """A head goes with its own entries: an emptier body of the same size, or of an earlier list, does not pass."""
    first, second = deny_list(certificate("1")), deny_list(certificate("2"))
    head = verify(signed(first).head, KEYS)
    for body in (signed(second).body, b"", signed(first).body[:-1]):
        with pytest.raises(ForgedDenyList, match="not those that were signed"):
            open_body(head, body)


def test_a_signature_of_something_else_is_refused() -> None:
    """The context keeps a signature that the key made elsewhere, over the same octets, from counting here."""
    head = signed(deny_list(identity())).head[: HEAD_BYTES - 64]
    with pytest.raises(ForgedDenyList):
        verify(head + KEY.sign(head), KEYS)


@pytest.mark.parametrize(
    "twice",
    [
        (identity(), identity()),
        (certificate("1", id="00000001"), certificate("2", id="00000001")),
    ],
)
def test_what_stands_twice_is_refused(twice: tuple[Entry, Entry]) -> None:
    """A list that names something twice, or gives an id twice, has not come from a publisher."""
    deny = DenyList(version=1, entries=twice)
    with pytest.raises(BadDenyList, match="twice"):
        read(b"".join(signed(deny)), KEYS)


@pytest.mark.parametrize(
    "entry",
    [certificate("03d54"), certificate("3D54"), certificate(id="0000000G"), certificate(id="1"), authority("A7" * 32)],
)
def test_another_form_is_refused(entry: Entry) -> None:
    """Also when it was signed: a serial number with a leading zero would name nobody."""
    with pytest.raises(BadDenyList, match="form"):
        read(b"".join(signed(DenyList(version=1, entries=(entry,)))), KEYS)


def test_bounds() -> None:
    """Neither a body beyond the bound nor a head that speaks of one."""
    reason = "x" * 1000
    many = tuple(certificate(f"{number:x}", reason=reason) for number in range(1, 4200))
    with pytest.raises(DenyListFull, match="octets"):
        encode_body(DenyList(version=1, entries=many))
    with pytest.raises(BadEntry, match="reason"):
        encode_body(DenyList(version=1, entries=(identity(reason="x" * 2000),)))
    head = struct.pack(
        ">4sB32sQQQII32s", b"SGDL", 1, codec.key_id_of(KEYS[0]), 1, 1, 2, 1, MAX_BODY_BYTES + 1, bytes(32)
    )
    with pytest.raises(BadDenyList, match="bounds"):
        verify(head + KEY.sign(b"smsgw deny list head v1\x00" + head), KEYS)


def test_the_octets() -> None:
    """The form is fixed: this head and this body are those of format 1."""
    deny = DenyList(version=258, entries=(certificate(id="0000002a", since=258, revoked_at=3, reason="lost"),))
    made = signed(deny, issued_at=4, expires_at=5)
    assert made.head[:5] == b"SGDL\x01"
    assert (
        made.head[37:69].hex()
        == "00000000000001020000000000000004000000000000000500000001000000" + f"{len(made.body):02x}"
    )
    assert made.body.hex() == (
        "083030303030303261010000000000000102000000000000000300000000000000000000"
        "0433643534043165343400000000000000000001000000046c6f7374"
    )  # fmt: skip


def test_errors_are_one_family() -> None:
    """Whoever handles a list has one root to catch."""
    assert issubclass(BadDenyList, DenyListError)
    assert isinstance(SignedList(b"", b""), tuple)
