"""From a message to the bodies of its submit_sm (SMPP 3.4 §4.4.1), one for each segment. Hot: once for every message.

Owns how senders, recipients and validity are written. Knows nothing of links, windows or stores.
"""

from __future__ import annotations

import functools
import re

from carrier.errors import TextError
from carrier.profile import CarrierProfile
from carrier.smpp.pdu import encode_submit_sm
from carrier.text.gsm7 import GSM_CHARACTERS
from carrier.text.writing import TextWriter

TON_UNKNOWN, TON_INTERNATIONAL, TON_NETWORK_SPECIFIC, TON_ALPHANUMERIC = 0, 1, 3, 5  # SMPP 3.4 §5.2.5
NPI_UNKNOWN, NPI_ISDN = 0, 1  # SMPP 3.4 §5.2.6
MAX_ALPHANUMERIC = 11  # characters, 3GPP TS 23.040 §9.1.2.5
MAX_SHORT_CODE = 8  # digits
MAX_NUMBER = 15  # digits, E.164
_MAX_VALIDITY_S = 30 * 86_400  # the largest relative time that needs no months, whose length is anybody's guess

_NUMBER = re.compile(r"\+?([0-9]{1,15})", re.ASCII)


class SubmissionWriter:
    """Writes submissions for one carrier. What its profile says is worked out once, here."""

    def __init__(self, profile: CarrierProfile) -> None:
        """Raises TextError for settings that do not go together."""
        self._text = TextWriter(profile.text)

    def write(
        self,
        *,
        sender: str,
        recipient: str,
        text: str | None = None,
        data: bytes = b"",
        data_coding: int = 0,
        user_data_header: bytes = b"",
        reference: int,
        validity_s: int | None,
        registered_delivery: int = 1,
    ) -> tuple[bytes, ...]:
        """Return one submit_sm body for each segment of a text, or, with `text` None, of octets; one body for all where
        the carrier takes message_payload.

        `sender` is alphanumeric, a short code or a number; `recipient` is E.164; `reference` (0 to 65,535) is the
        concatenation reference; `validity_s` counts from now (at least 1 s; more than 30 days become 30 days; None
        leaves it to the carrier); `registered_delivery` as in SMPP 3.4 §5.2.17. Raises TextError for what cannot be
        sent so.
        """
        if text is None:
            segmented = self._text.segment_binary(data, data_coding, user_data_header, reference)
        else:
            segmented = self._text.segment(text, reference)
        source_ton, source_npi, source = address_of(sender)
        destination = _recipient(recipient)
        validity = b"" if validity_s is None else _validity(validity_s)
        parts, tlvs = segmented.parts, segmented.tlvs
        first = encode_submit_sm(
            source_addr_ton=source_ton,
            source_addr_npi=source_npi,
            source_addr=source,
            dest_addr_ton=TON_INTERNATIONAL,
            dest_addr_npi=NPI_ISDN,
            dest_addr=destination,
            esm_class=segmented.esm_class,
            protocol_id=0,
            priority_flag=0,
            validity_period=validity,
            registered_delivery=registered_delivery,
            data_coding=segmented.data_coding,
            short_message=parts[0],
            tlvs=tlvs[0] if tlvs else b"",
        )
        return (first,) if len(parts) == 1 else _like_the_first(first, parts, tlvs)


def _like_the_first(first: bytes, parts: tuple[bytes, ...], tlvs: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return the bodies of all parts: up to the length of short_message they are the first one."""
    own = len(parts[0]) + (len(tlvs[0]) if tlvs else 0)
    common = first[: len(first) - own - 1]
    if not tlvs:
        return tuple([b"%b%c%b" % (common, len(part), part) for part in parts])
    return tuple([b"%b%c%b%b" % (common, len(part), part, extra) for part, extra in zip(parts, tlvs, strict=True)])


def _recipient(recipient: str) -> bytes:
    digits = recipient.removeprefix("+")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= MAX_NUMBER):
        raise TextError("the recipient is no E.164 number")
    return digits.encode("ascii")


@functools.lru_cache(maxsize=1024)
def address_of(sender: str) -> tuple[int, int, bytes]:
    """Return TON, NPI and address of a sender.

    SMPP addresses are ASCII (§3.1), not GSM septets: "@" stays 0x40 and ends no string. The characters that GSM has
    beyond ASCII go as Latin-1; those that Latin-1 lacks cannot be sent.
    """
    number = _NUMBER.fullmatch(sender)
    if number:
        digits = number[1]
        if not sender.startswith("+") and len(digits) <= MAX_SHORT_CODE:
            return TON_NETWORK_SPECIFIC, NPI_UNKNOWN, digits.encode("ascii")
        return TON_INTERNATIONAL, NPI_ISDN, digits.encode("ascii")
    if not 1 <= len(sender) <= MAX_ALPHANUMERIC:
        raise TextError(f"a sender that is no number has 1 to {MAX_ALPHANUMERIC} characters, not {len(sender)}")
    if not GSM_CHARACTERS.issuperset(sender) or not sender.isprintable():
        raise TextError(f"the sender {sender!a} has characters outside the GSM alphabet")
    try:
        return TON_ALPHANUMERIC, NPI_UNKNOWN, sender.encode("latin-1")
    except UnicodeEncodeError:
        raise TextError(f"the sender {sender!a} has characters that an SMPP address cannot hold") from None


@functools.lru_cache(maxsize=8192)
def _validity(validity_s: int) -> bytes:
    """Return a relative time, YYMMDDhhmmsstnnp with p "R" (SMPP 3.4 §7.1.1.2)."""
    if validity_s < 1:
        raise TextError(f"a validity of {validity_s} s is over before it begins")
    minutes, seconds = divmod(min(validity_s, _MAX_VALIDITY_S), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return b"0000%02d%02d%02d%02d000R" % (days, hours, minutes, seconds)
