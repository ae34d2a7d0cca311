"""How addresses are written for one carrier: type of number, numbering plan, octets (SMPP 3.4 §5.2.5 to §5.2.9)."""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from carrier.errors import TextError
from carrier.text import gsm7
from carrier.text.gsm7 import GSM_CHARACTERS

TON_UNKNOWN, TON_INTERNATIONAL, TON_NETWORK_SPECIFIC, TON_ALPHANUMERIC = 0, 1, 3, 5  # SMPP 3.4 §5.2.5
NPI_UNKNOWN, NPI_ISDN = 0, 1  # SMPP 3.4 §5.2.6
MAX_ALPHANUMERIC = 11  # characters, 3GPP TS 23.040 §9.1.2.5
MAX_SHORT_CODE = 8  # digits
MAX_NUMBER = 15  # digits, E.164
_MAX_OCTETS = 20  # SMPP 3.4 §5.2.8

_NUMBER = re.compile(r"\+?([0-9]{1,15})", re.ASCII)


class Plan(NamedTuple):
    """Type of number and numbering plan."""

    ton: int
    npi: int


ALPHANUMERIC = Plan(TON_ALPHANUMERIC, NPI_UNKNOWN)
SHORT_CODE = Plan(TON_NETWORK_SPECIFIC, NPI_UNKNOWN)
INTERNATIONAL = Plan(TON_INTERNATIONAL, NPI_ISDN)


class SenderAlphabet(enum.StrEnum):
    """In which octets the carrier takes an alphanumeric sender."""

    ASCII = "ascii"
    LATIN1 = "latin1"
    GSM7 = "gsm7"  # one septet in each octet


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressProfile:
    """How a carrier wants addresses."""

    alphanumeric: Plan = ALPHANUMERIC
    short_code: Plan = SHORT_CODE
    number: Plan = INTERNATIONAL  # a sender that is a number in E.164
    recipient: Plan = INTERNATIONAL
    keep_plus: bool = False  # before numbers in E.164
    sender_alphabet: SenderAlphabet = SenderAlphabet.LATIN1


PLAIN_ADDRESSES = AddressProfile()


class AddressWriter:
    """Writes addresses by one profile."""

    def __init__(self, profile: AddressProfile = PLAIN_ADDRESSES) -> None:
        self._profile = profile
        self._plus = "+" if profile.keep_plus else ""
        self._plus_octets = self._plus.encode()
        self._encode = _ENCODERS[profile.sender_alphabet]
        # Hot: (sender) → TON, NPI and octets, see `_sender`.
        self.sender: Callable[[str], tuple[int, int, bytes]] = functools.lru_cache(maxsize=1024)(self._sender)

    def recipient(self, recipient: str) -> bytes:
        """Return the octets of a number in E.164 (hot). Raises TextError for anything else."""
        try:
            digits = recipient.encode("ascii").removeprefix(b"+")
        except UnicodeEncodeError:
            digits = b""
        if not digits.isdigit() or len(digits) > MAX_NUMBER:
            raise TextError("the recipient is no E.164 number")
        return self._plus_octets + digits

    def _sender(self, sender: str) -> tuple[int, int, bytes]:
        """Return TON, NPI and octets of a sender: alphanumeric, a short code or a number.

        Raises TextError for what the carrier's alphabet cannot write.
        """
        number = _NUMBER.fullmatch(sender)
        if number is None:
            return (*self._profile.alphanumeric, self._alphanumeric(sender))
        digits = number[1]
        if not sender.startswith("+") and len(digits) <= MAX_SHORT_CODE:
            return (*self._profile.short_code, digits.encode("ascii"))
        return (*self._profile.number, (self._plus + digits).encode("ascii"))

    def _alphanumeric(self, sender: str) -> bytes:
        if not 1 <= len(sender) <= MAX_ALPHANUMERIC:
            raise TextError(f"a sender that is no number has 1 to {MAX_ALPHANUMERIC} characters, not {len(sender)}")
        if not GSM_CHARACTERS.issuperset(sender) or not sender.isprintable():
            raise TextError(f"the sender {sender!a} has characters outside the GSM alphabet")
        octets = self._encode(sender)
        if len(octets) > _MAX_OCTETS:
            raise TextError(f"the sender {sender!a} takes {len(octets)} octets; an SMPP address has {_MAX_OCTETS}")
        return octets


def _in_ascii(sender: str) -> bytes:
    if not sender.isascii():
        raise TextError(f"the sender {sender!a} has characters outside ASCII, and this carrier takes no others")
    return sender.encode("ascii")


def _in_latin1(sender: str) -> bytes:
    """SMPP addresses are ASCII (§3.1); characters that GSM has beyond it go as Latin-1, and "@" stays 0x40."""
    try:
        return sender.encode("latin-1")
    except UnicodeEncodeError:
        raise TextError(f"the sender {sender!a} has characters that an SMPP address cannot hold") from None


def _in_gsm7(sender: str) -> bytes:
    """ "@" is septet 0, which ends the C-octet string: what stands behind it would be lost, so it is refused."""
    septets = gsm7.encode(sender)
    if 0 in septets:
        raise TextError(f'the sender {sender!a} has an "@", which ends an address in this carrier\'s alphabet')
    return septets


_ENCODERS = {
    SenderAlphabet.ASCII: _in_ascii,
    SenderAlphabet.LATIN1: _in_latin1,
    SenderAlphabet.GSM7: _in_gsm7,
}
PLAIN_WRITER = AddressWriter()  # as carriers usually want it
address_of = PLAIN_WRITER.sender
