"""The settings of TLVs of a carrier's own."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from carrier.errors import TextError
from carrier.smpp.constants import Tag
from carrier.tlvs import MAX_LENGTH, ReceiptKey, TlvRule, TlvType
from gateway.config.definitions import setting
from gateway.config.kinds import NAME, Choice, Flag, Integer, Items, Text, clip

_TAG = re.compile(r"0[xX][0-9A-Fa-f]{1,4}|[0-9]{1,5}", re.ASCII)
_MAX_TAG = 0xFFFF
_OURS = (Tag.SAR_MSG_REF_NUM, Tag.SAR_TOTAL_SEGMENTS, Tag.SAR_SEGMENT_SEQNUM, Tag.MESSAGE_PAYLOAD)
_MAX_INT = 8
_LABEL = Text(meaning="a label, 1 to 63 characters of [a-z0-9_.-]", pattern=r"[a-z0-9_.-]+", low=1, high=63)
_SENDER = Text(meaning="a sender", low=1, high=16)


@dataclass(frozen=True, slots=True, kw_only=True)
class TagNumber:
    """The tag of a TLV: `0x1400` or 5120."""

    quotable: bool = True

    def read(self, text: str) -> int:
        """Return the number."""
        value = int(text, 16 if text[:2] in {"0x", "0X"} else 10) if _TAG.fullmatch(text) else -1
        if not 0 <= value <= _MAX_TAG:
            raise ValueError(f"wants {self.describe()}; {clip(text)} is not")
        return value

    def show(self, value: object) -> str:
        """Return the number in hexadecimal."""
        return f"0x{value:04X}" if isinstance(value, int) else str(value)

    def describe(self) -> str:
        """Return what is wanted."""
        return "tag, 0 to 0xFFFF"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlvSettings:
    """A TLV that goes into every submit_sm, with a fixed value or one from a label of the message, or that is read in
    receipts."""

    name: str = setting(NAME, doc="How it is called in errors.", example="pe_id")
    tag: int = setting(TagNumber(), doc="Its tag. Those above 0x1400 differ from carrier to carrier.", example="0x1400")
    type: TlvType = setting(
        Choice(TlvType),
        default="cstring",
        doc="The form of its value: cstring (ASCII and a NUL), string (ASCII), int (big-endian), hex (octets).",
    )
    length: int = setting(
        Integer(low=1, high=MAX_LENGTH, unit="octets"),
        default="255",
        doc="The most octets of its value, the NUL included; of an int, which needs it, exactly so many (1 to 8).",
    )
    mask: str = setting(
        Text(meaning="a mask of printable ASCII", pattern=r"[\x20-\x7e]+", high=MAX_LENGTH),
        default="",
        doc="What a value has to look like: # is a digit, any other character itself. India's template ids are "
        "1#07###############, so that an entity's id in their place is refused.",
    )
    value: str | None = setting(
        Text(meaning="a value", low=1, high=2 * MAX_LENGTH), optional=True, doc="Its value, when it is fixed."
    )
    from_label: str | None = setting(
        _LABEL,
        optional=True,
        doc="The label of the message that has its value. A message without the label is REJECTED, see `required`.",
        example="dlt_template_id",
    )
    required: bool = setting(Flag(), default="true", doc="Whether a message without the label is refused.")
    senders: tuple[str, ...] = setting(
        Items(_SENDER, high=10_000),
        doc="Only for messages of these senders; left out: all. Of several with one tag the first that fits is taken.",
    )

    receipt_key: ReceiptKey | None = setting(
        Choice(ReceiptKey),
        optional=True,
        doc="Of what in a receipt's text it takes the place, when it comes with one: id, stat, err or done (the date).",
    )

    def rule(self) -> TlvRule:
        """Return it as the profile has it."""
        return TlvRule(
            name=self.name,
            tag=self.tag,
            type=self.type,
            length=self.length,
            mask=self.mask,
            value=self.value,
            from_label=self.from_label,
            required=self.required,
            senders=self.senders,
            receipt_key=self.receipt_key,
        )


def tlv_findings(settings: Sequence[TlvSettings]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a carrier's TLVs."""
    for at, tlv in enumerate(settings):
        for key, text in _findings(tlv):
            yield f"tlvs[{at}].{key}", text
        for earlier in settings[:at]:
            if earlier.tag == tlv.tag and (_covers(earlier, tlv) or (earlier.receipt_key and tlv.receipt_key)):
                yield f"tlvs[{at}].tag", f"{earlier.name} before it has the same tag for all senders: it is never taken"


def _covers(earlier: TlvSettings, tlv: TlvSettings) -> bool:
    return _is_sent(earlier) and _is_sent(tlv) and not earlier.senders


def _is_sent(tlv: TlvSettings) -> bool:
    return tlv.value is not None or tlv.from_label is not None


def _findings(tlv: TlvSettings) -> Iterator[tuple[str, str]]:
    if tlv.tag in _OURS:
        yield "tag", f"0x{tlv.tag:04X} is {Tag(tlv.tag).name}, which the link writes itself: see text.segmentation"
    if tlv.value is not None and tlv.from_label is not None:
        yield "value", "wants either a value or from_label"
    if not _is_sent(tlv) and tlv.receipt_key is None:
        yield "value", "wants either a value or from_label, to be sent, or receipt_key, to be read"
    if tlv.type is TlvType.INT and tlv.length > _MAX_INT:
        yield "length", f"says how many octets an int has: 1 to {_MAX_INT}"
    elif tlv.value is not None:
        try:
            tlv.rule().octets(tlv.value)
        except TextError as error:
            yield "value", str(error)
