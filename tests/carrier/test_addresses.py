"""Addresses as carriers want them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.addresses import AddressProfile, AddressWriter, Plan, SenderAlphabet, address_of
from carrier.errors import TextError

LATIN1, ASCII, GSM7 = SenderAlphabet.LATIN1, SenderAlphabet.ASCII, SenderAlphabet.GSM7


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("ACME", (5, 0, b"ACME")),
        ("12345", (3, 0, b"12345")),
        ("+4917000000", (1, 1, b"4917000000")),
        ("491700000000", (1, 1, b"491700000000")),
        ("a@b", (5, 0, b"a@b")),
    ],
)
def test_usual_senders(sender: str, expected: tuple[int, int, bytes]) -> None:
    """TON and NPI by the kind of sender; the plus sign is not written."""
    assert address_of(sender) == expected


def test_plans_of_a_carrier_s_own() -> None:
    """Each kind has the profile's TON and NPI; numbers keep their plus where it says so, short codes never have one."""
    writer = AddressWriter(
        AddressProfile(alphanumeric=Plan(5, 1), short_code=Plan(0, 0), number=Plan(2, 8), keep_plus=True)
    )
    assert writer.sender("ACME") == (5, 1, b"ACME")
    assert writer.sender("12345") == (0, 0, b"12345")
    assert writer.sender("+4917000000") == (2, 8, b"+4917000000")
    assert writer.recipient("+4915112345678") == b"+4915112345678"
    assert AddressWriter().recipient("+4915112345678") == b"4915112345678"


@pytest.mark.parametrize(
    ("alphabet", "sender", "octets"),
    [
        (LATIN1, "Käse", b"K\xe4se"),
        (GSM7, "Käse", b"K\x7bse"),
        (GSM7, "a[b]", b"a\x1b\x3cb\x1b\x3e"),
        (ASCII, "a$", b"a$"),
    ],
)
def test_alphabets_of_senders(alphabet: SenderAlphabet, sender: str, octets: bytes) -> None:
    """The octets of a sender are those of the profile's alphabet."""
    assert AddressWriter(AddressProfile(sender_alphabet=alphabet)).sender(sender) == (5, 0, octets)


@pytest.mark.parametrize(
    ("alphabet", "sender", "says"),
    [
        (GSM7, "a@b", "ends an address"),
        (GSM7, "[[[[[[[[[[[", "22 octets"),
        (ASCII, "Käse", "outside ASCII"),
        (LATIN1, "ΔΩ", "cannot hold"),
        (LATIN1, "a" * 12, "11 characters"),
        (LATIN1, "हिन्दी", "outside the GSM alphabet"),
        (LATIN1, "a\nb", "outside the GSM alphabet"),
    ],
)
def test_what_cannot_be_written(alphabet: SenderAlphabet, sender: str, says: str) -> None:
    """A sender that would arrive as another is refused."""
    with pytest.raises(TextError, match=says):
        AddressWriter(AddressProfile(sender_alphabet=alphabet)).sender(sender)


@pytest.mark.parametrize("recipient", ["+49 151", "", "+", "٣٤٥٦٧٨٩", "+1234567890123456"])
def test_recipients_that_are_none(recipient: str) -> None:
    """A recipient is digits, at most 15."""
    with pytest.raises(TextError, match=r"E\.164"):
        AddressWriter().recipient(recipient)


@given(st.text(max_size=14), st.sampled_from(SenderAlphabet), st.booleans())
def test_no_sender_breaks_the_pdu(sender: str, alphabet: SenderAlphabet, keep_plus: bool) -> None:
    """What is written fits the field and holds no NUL; all else is a TextError."""
    writer = AddressWriter(AddressProfile(sender_alphabet=alphabet, keep_plus=keep_plus))
    try:
        _, _, octets = writer.sender(sender)
    except TextError:
        return
    assert 1 <= len(octets) <= 20
    assert 0 not in octets
