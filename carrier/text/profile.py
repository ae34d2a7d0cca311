"""What a carrier's profile says about texts: plain data (see docs/carriers.md)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from carrier.text.national import Language


class DefaultAlphabet(enum.StrEnum):
    """What the carrier takes octets under data_coding 0 for, the SMSC default alphabet (SMPP 3.4 §5.2.19).

    Whatever it is, the handset gets GSM 7 bit: characters are those of GSM that the alphabet can write, and segments
    are counted in septets.
    """

    GSM7 = "gsm7"  # one septet in each octet
    GSM7_PACKED = "gsm7_packed"  # eight septets in seven octets (TS 23.038 §6.1.2.1)
    LATIN1 = "latin1"
    ASCII = "ascii"


class Segmentation(enum.StrEnum):
    """How the carrier takes a text of more than one segment."""

    UDH8 = "udh8"  # user data headers with an 8-bit reference (TS 23.040 §9.2.3.24.1)
    UDH16 = "udh16"  # with a 16-bit reference (§9.2.3.24.8)
    SAR = "sar"  # sar_ TLVs; the carrier makes the headers (SMPP 3.4 §5.3.2.22)
    MESSAGE_PAYLOAD = "message_payload"  # one PDU, which the carrier cuts (SMPP 3.4 §5.3.2.32)


HAVE_HEADERS = (Segmentation.UDH8, Segmentation.UDH16)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextProfile:
    """How texts are written for one carrier."""

    default_alphabet: DefaultAlphabet = DefaultAlphabet.GSM7
    latin1: bool = False  # data_coding 3 is taken
    national_tables: tuple[Language, ...] = ()  # single shift tables to encode with; decoding knows them all
    transliterate: bool = False  # characters outside GSM are replaced where there is a sensible counterpart
    segmentation: Segmentation = Segmentation.UDH8


PLAIN_TEXT = TextProfile()
