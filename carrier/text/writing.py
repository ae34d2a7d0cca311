"""Which form a text takes, how many segments, and its parts: by a carrier's profile (`TextWriter`).

Of the forms that the profile allows (`carrier.text.forms`) the one of the fewest segments is taken, and among equals
the first. Counting and cutting go by the same choice, so that the two cannot disagree: `count` is asked of every
message when it is accepted, `segment` when it is sent (both hot).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from carrier.text import gsm7
from carrier.text.coding import Encoding, Estimate, binary_segments
from carrier.text.cutting import GSM_SINGLE, OCTETS_SINGLE, USER_DATA, gsm_parts
from carrier.text.forms import DATA_CODING_DEFAULT, Coded, Ucs2, forms_of
from carrier.text.profile import PLAIN_TEXT, DefaultAlphabet, TextProfile
from carrier.text.segment import PART_HEADER, Segmented, segment, segment_octets

_tuple = tuple.__new__  # makes a named tuple in half the time that its class takes (hot)
_GSM_ONE = (Encoding.GSM7, 1)
_UCS2_ONE = (Encoding.UCS2, 1)


class TextWriter:
    """Writes texts and octets by one profile."""

    def __init__(self, profile: TextProfile = PLAIN_TEXT) -> None:
        """Raises TextError for settings that do not go together."""
        self.profile = profile
        self._how = profile.segmentation
        self._part_header = PART_HEADER[self._how]
        self._default, *self._others = forms_of(profile, self._part_header)
        self._ucs2 = Ucs2(self._part_header)
        self._septets_as_they_are = profile.default_alphabet is DefaultAlphabet.GSM7

    def choose(self, text: str) -> Coded:
        """Return `text` in the form it is sent in. Raises TextError for a lone surrogate."""
        best = self._default.code(text)
        if best is not None:
            return self._choose_beside(best)
        for form in self._others:
            found = form.code(text)
            if found is not None and (best is None or found.segments < best.segments):
                best = found
        found = self._ucs2.code(text)
        return found if best is None or found.segments < best.segments else best

    def _choose_beside(self, best: Coded) -> Coded:
        """Return what takes fewer segments than the default alphabet, which `best` is in; UCS-2 never does."""
        if best.segments > 1:
            for form in self._others:
                found = form.code(best.text)
                if found is not None and found.segments < best.segments:
                    best = found
        return best

    def count(self, text: str) -> tuple[Encoding, int]:
        """Return the encoding of `text` and how many segments it takes. Raises TextError for a lone surrogate."""
        if self._septets_as_they_are:
            marks = gsm7.mark(text)
            if marks is not None and len(marks) <= (GSM_SINGLE if marks.isascii() else GSM_SINGLE // 2):
                return _GSM_ONE  # fits even if every character is escaped
            if marks is None and not self._others:
                segments = self._ucs2.code(text).segments
                return _UCS2_ONE if segments == 1 else (Encoding.UCS2, segments)
        coded = self.choose(text)
        return coded.form.encoding, coded.segments

    def segment(self, text: str, reference: int) -> Segmented:
        """Return `text` in parts, as many as `count` says; in one PDU where the profile has message_payload.

        `reference`: 0 to 65,535, see `carrier.text.segment`. Raises TextError for a lone surrogate, more than 255
        parts, or a reference out of range.
        """
        if not self._septets_as_they_are:
            return segment(self.choose(text), self._how, reference)
        marks = gsm7.mark(text)
        if marks is not None:
            septets = gsm7.expand(marks)
            if len(septets) <= GSM_SINGLE:
                return _tuple(Segmented, (DATA_CODING_DEFAULT, 0, (septets,), ()))
            coded = self._choose_beside(Coded(self._default, text, septets, gsm_parts(septets, self._default.room)))
        else:
            coded = self.choose(text) if self._others else self._ucs2.code(text)
        return segment(coded, self._how, reference)

    def segment_binary(self, data: bytes, data_coding: int, udh: bytes, reference: int) -> Segmented:
        """Return octets in parts. Raises TextError, see `carrier.text.segment.segment_octets`."""
        return segment_octets(data, data_coding, udh, self._how, reference)

    def estimate(self, text: str) -> Estimate:
        """Return what `text` takes. Raises TextError for a lone surrogate."""
        coded = self.choose(text)
        form, segments = coded.form, coded.segments
        units = len(coded.units) // (2 if form.encoding is Encoding.UCS2 else 1)
        return Estimate(
            encoding=form.encoding,
            segments=segments,
            units=units,
            capacity=form.room.single if segments == 1 else form.room.part * segments,
            non_gsm=() if form.encoding is Encoding.GSM7 else gsm7.non_gsm_characters(text),
            sent_text=None if coded.text == text else coded.text,
        )

    def count_binary(self, octets: int) -> int:
        """Return how many segments so many octets take, without a header of the caller's."""
        return binary_segments(octets, USER_DATA - self._part_header)

    def estimate_binary(self, data: bytes, user_data_header: bytes = b"") -> Estimate:
        """Return what octets take. A user data header counts, and makes them one segment."""
        units = len(data) + len(user_data_header)
        segments = 1 if user_data_header else self.count_binary(units)
        return Estimate(
            encoding=Encoding.BINARY,
            segments=segments,
            units=units,
            capacity=OCTETS_SINGLE if segments == 1 else (USER_DATA - self._part_header) * segments,
            non_gsm=(),
        )


class Widest:
    """Counts for several profiles at once: a content takes what it takes by the profile that needs the most."""

    def __init__(self, writers: Sequence[TextWriter]) -> None:
        """`writers`: at least one."""
        self._writers = writers

    def count(self, text: str) -> tuple[Encoding, int]:
        """Return encoding and segments. Raises TextError for a lone surrogate."""
        return max([writer.count(text) for writer in self._writers], key=lambda found: found[1])

    def estimate(self, text: str) -> Estimate:
        """Return what `text` takes. Raises TextError for a lone surrogate."""
        return max([writer.estimate(text) for writer in self._writers], key=lambda found: found.segments)

    def count_binary(self, octets: int) -> int:
        """Return how many segments so many octets take, without a header of the caller's."""
        return max(writer.count_binary(octets) for writer in self._writers)

    def estimate_binary(self, data: bytes, user_data_header: bytes = b"") -> Estimate:
        """Return what octets take. A user data header counts, and makes them one segment."""
        found = [writer.estimate_binary(data, user_data_header) for writer in self._writers]
        return max(found, key=lambda estimate: estimate.segments)


Counting = TextWriter | Widest
PLAIN = TextWriter()


def counting(profiles: Iterable[TextProfile]) -> Counting:
    """Return what counts for all of `profiles`: for one, or several that are equal, its own writer (the usual case)."""
    writers = [TextWriter(profile) for profile in dict.fromkeys(profiles)]
    return Widest(writers) if len(writers) > 1 else (writers or [PLAIN])[0]
