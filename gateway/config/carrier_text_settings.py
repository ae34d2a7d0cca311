"""The settings of how texts are written for one carrier."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from carrier.text.forms import national_fault
from carrier.text.national import Language
from carrier.text.profile import DefaultAlphabet, Segmentation, TextProfile
from gateway.config.definitions import setting
from gateway.config.kinds import NAME, Choice, Flag, Items, Section


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSettings:
    """How texts are written. Of what is allowed the form of the fewest segments is taken; among equals GSM 7 bit, then
    a national table, transliteration, Latin-1, UCS-2."""

    default_alphabet: DefaultAlphabet = setting(
        Choice(DefaultAlphabet),
        default="gsm7",
        doc="What the carrier takes octets under data_coding 0 for, and sends under it: gsm7, a septet in each octet; "
        "gsm7_packed, eight septets in seven octets; latin1; ascii. The handset gets GSM 7 bit in any case.",
    )
    latin1: bool = setting(
        Flag(), default="false", doc="The carrier takes Latin-1 under data_coding 3: 140 characters a segment."
    )
    national_tables: tuple[Language, ...] = setting(
        Items(Choice(Language), high=13),
        doc="National single shift tables (3GPP TS 23.038) that texts may be encoded with, in order of preference; the "
        "user data header names them, and old handsets show other letters. To read, all tables are known. They want "
        "default_alphabet gsm7 or gsm7_packed, and segmentation udh8 or udh16.",
    )
    transliterate: bool = setting(
        Flag(),
        default="false",
        doc="Replace characters outside GSM 7 bit where each has a sensible counterpart: typographic quotes, dashes "
        "and spaces, letters with accents. EstimateMessage tells what would be sent.",
    )
    segmentation: Segmentation = setting(
        Choice(Segmentation),
        default="udh8",
        doc="How a text of several segments is sent: udh8, user data headers with an 8-bit reference; udh16, with a "
        "16-bit one; sar, sar_ TLVs; message_payload, one PDU that the carrier cuts.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedSettings:
    """How a carrier of the relaying nodes writes texts."""

    name: str = setting(NAME, doc="How the carrier is called there.", example="acme")
    text: TextSettings = setting(Section(TextSettings), doc="What stands under text of that carrier.")


def text_profile(settings: TextSettings) -> TextProfile:
    """Return what the link is told."""
    return TextProfile(
        default_alphabet=settings.default_alphabet,
        latin1=settings.latin1,
        national_tables=settings.national_tables,
        transliterate=settings.transliterate,
        segmentation=settings.segmentation,
    )


def counted_findings(carriers: Sequence[CountedSettings]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the carriers that are counted for."""
    names: set[str] = set()
    for at, carrier in enumerate(carriers):
        if carrier.name in names:
            yield f"[{at}].name", f"{carrier.name} stands here a second time"
        names.add(carrier.name)
        for key, text in text_findings(carrier.text):
            yield f"[{at}].{key}", text


def text_findings(settings: TextSettings) -> Iterator[tuple[str, str]]:
    """Yield what is wrong between the settings."""
    why = national_fault(settings.default_alphabet, settings.segmentation)
    if settings.national_tables and why:
        yield "text.national_tables", why
    if len(set(settings.national_tables)) != len(settings.national_tables):
        yield "text.national_tables", "names a language twice"
