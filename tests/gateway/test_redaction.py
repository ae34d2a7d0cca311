"""Numbers and codes do not get through, in whatever notation; what is no number stays readable."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.redaction import HIDDEN, MAX_ITEMS, MAX_TEXT, clean, clipped, redact

# Digits of other scripts, each by its zero (Unicode category Nd).
ZEROS = "0٠۰०০੦૦௦๐０𝟎𝟘"
SEPARATORS = ["", " ", "-", ".", "/", "\u00a0", "\u2009", "\u202f", "–", "‑", "−", " - ", ") ", " (", "_", "\u200b",
              "\u200e", "\t", "·", ", ", ":", "|", "*", "\u00ad", "\u3000"]  # fmt: skip
CALLING = ["49", "1", "91", "44", "358", "971", "7"]
AROUND = ["", " ", "to ", "Number: ", "tel:", "<", '{"to": "', "=", "sms to", "(", "「", "#", "\n", "=\u202e"]
CODE_AROUND = [
    "",
    " ",
    "Your code is ",
    "code:",
    "OTP=",
    "G-",
    "is",
    "<#> ",
    '{"code": "',
    "пароль ",
    "验证码",
    "\u202e",
]


def styled(digits: str, zero: str) -> str:
    """Return digits in another script."""
    return "".join(chr(ord(zero) + int(digit)) for digit in digits)


def plain_digits(text: str) -> str:
    """Return all digits that a reader could make out in `text`, as ASCII."""
    return "".join(
        str(unicodedata.digit(character)) for character in text if unicodedata.digit(character, None) is not None
    )


@st.composite
def written(draw: st.DrawFn, digits: str) -> str:
    """Return `digits` in groups, between separators, in some script."""
    parts, rest = [], digits
    while rest:
        size = draw(st.integers(1, len(rest)))
        parts.append(rest[:size])
        rest = rest[size:]
    separator = draw(st.sampled_from(SEPARATORS))
    zero = draw(st.sampled_from(ZEROS))
    return separator.join(styled(part, zero) for part in parts)


@settings(max_examples=300)
@given(st.data())
def test_numbers_do_not_survive(data: st.DataObject) -> None:
    """Whatever stands between the digits of a number, and in whatever script, at most its last four are shown."""
    national = data.draw(st.from_regex(r"[1-9][0-9]{6,9}", fullmatch=True))
    calling = data.draw(st.sampled_from(CALLING))
    how = data.draw(st.sampled_from(["+", "＋", "00", "", "national", "(0)"]))
    digits = {"national": "0" + national, "(0)": calling + "0" + national}.get(how, calling + national)
    number = data.draw(written(digits))
    prefix = {"00": styled("00", "0"), "national": "", "(0)": "+"}.get(how, how)
    before, after = data.draw(st.sampled_from(AROUND)), data.draw(st.sampled_from(["", " ", ".", ")", '"}', " today"]))
    found = redact(before + prefix + number + after)
    if _is_ipv4(number):
        return
    seen = plain_digits(re.sub(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}", "", found))
    shown = seen.removeprefix(calling)
    assert len(shown) <= 4
    assert national.endswith(shown)


def _is_ipv4(text: str) -> bool:
    groups = text.split(".")
    return len(groups) == 4 and len({len(group) for group in groups}) > 1


@settings(max_examples=300)
@given(st.data())
def test_codes_do_not_survive(data: st.DataObject) -> None:
    """A code of 4 to 10 digits is hidden altogether, wherever it stands."""
    code = data.draw(st.from_regex(r"[0-9]{4,10}", fullmatch=True))
    text = data.draw(written(code))
    before, after = (
        data.draw(st.sampled_from(CODE_AROUND)),
        data.draw(st.sampled_from(["", " ", ".", "ist", '"}', "!\n"])),
    )
    if _is_ipv4(text):
        return
    found = redact(before + text + after)
    assert plain_digits(re.sub(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}", "", found)) == ""
    assert HIDDEN in found


REAL = ["+4915112345678", "+493012345678", "+12025550123", "+919812345678", "+447400123456", "+33612345678"]


@settings(max_examples=200)
@given(st.sampled_from(REAL), st.from_regex(r"[0-9]{4,8}", fullmatch=True), st.sampled_from(SEPARATORS[1:]), st.data())
def test_a_code_behind_a_number(number: str, code: str, separator: str, data: st.DataObject) -> None:
    """A code that follows a number, with no word between them, is not shown as the number's end."""
    cut = data.draw(st.integers(3, len(number) - 1))
    for text in (f"{number}{separator}{code}", f"{number[:cut]} {number[cut:]}{separator}{code}"):
        seen = plain_digits(re.sub(r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}", "", redact(text)))
        assert not seen.endswith(code[-4:]) or number.endswith(code[-4:])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("+49 151 1234-5678", "+49XXXXXXX5678"),
        ("004915112345678", "+49XXXXXXX5678"),
        ("0049 151 12345678", "+49XXXXXXX5678"),
        ("(0151) 1234 5678", "(XXXX"),
        ("tel:+49-151-1234-5678;ext", "tel:+49XXXXXXX5678;ext"),
        ("＋４９１５１１２３４５６７８", "+49XXXXXXX5678"),
        ("4915112345678", "XXXXXXXXX5678"),
        ("٤٧١١", "XXXX"),
        ("Dein Code: 4711.", "Dein Code: XXXX."),
        ("G-123456", "G-XXXX"),
        ("4 7 1 1", "XXXX"),
        ("+49 151 12345678 4711", "XXXX"),
        ("+1 202 555 0123 4711", "XXXX"),
        (r"\uff14\uff17\uff11\uff11", "XXXX"),
        (r"\x34\x37\x31\x31", "XXXX"),
        ("12 of 50, 3 links", "12 of 50, 3 links"),
    ],
)
def test_by_hand(text: str, found: str) -> None:
    """Notations that people and programs use."""
    assert redact(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "message 01932c07-7d4c-7a51-8000-123456789012 is gone",
        "expired at 2026-11-23T22:51:50Z",
        "since 2026-11-23T22:51:50.131209+00:00",
        "connect to 127.0.0.1:46699 failed",
        "from 192.168.17.4",
        "SMPP status 0x00000058",
        "<Task at 0x7fb88588f910>",
        "digest 3fa85f6457174562b3fc2c963f66afa63fa85f6457174562b3fc2c963f66afa6",
        '  File "/srv/x.py", line 1234, in work',
        "[Errno 111] Connection refused",
        "नमस्ते 😀 Grüße",
    ],
)
def test_what_stays(text: str) -> None:
    """What is neither a number nor a code, by its shape, stays readable."""
    assert redact(text) == text


@settings(max_examples=200)
@given(st.text(max_size=200))
def test_nothing_acts(text: str) -> None:
    """Whatever comes in, what goes out prints as itself on one line, and is redacted already."""
    found = redact(text)
    assert found.isprintable()
    assert len(found.splitlines()) <= 1
    assert not re.search(
        r"\d{4}", re.sub(r"\\x[0-9a-f]{2}|\\[uU][0-9a-f]{4,8}|0x[0-9a-f]+|[0-9a-f]{32,}", "", found), re.ASCII
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a\r\n2026 forged", r"a\r\nXXXX forged"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("a\u2028b\u2029c\x85d\x0be", r"a\u2028b\u2029c\x85d\x0be"),
        ("\ud800", r"\ud800"),
    ],
)
def test_controls(text: str, found: str) -> None:
    """Control and format characters are escapes: no line is forged, no terminal driven, no text turned round."""
    assert redact(text) == found


def test_bounded() -> None:
    """A long text loses its middle, a long list its end, a deep one its depth."""
    assert clipped("x" * 10, 10) == "x" * 10
    assert clipped("a" * 100 + "b" * 100, 20) == "a" * 10 + " ...(cut)... " + "b" * 10
    assert len(redact("x" * 10**6)) < MAX_TEXT + 50
    assert clean(["x"] * 1000) == ["x"] * MAX_ITEMS
    assert clean({str(chr(97 + n % 26)) * n: 1 for n in range(1, 200)}) == {
        chr(97 + n % 26) * n: 1 for n in range(1, 51)
    }
    deep: list[object] = []
    for _ in range(100):
        deep = [deep]
    assert str(clean(deep)).count("[") < 210


class Awkward:
    """An object whose text is a number, and one that has none."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def __str__(self) -> str:
        if self.text is None:
            raise RuntimeError("+4915112345678")
        return self.text


def test_fields() -> None:
    """Numbers stay under names that hold numbers, texts under names of their shape; anything else is redacted."""
    assert clean(3550, "port") == 3550
    assert clean(1_700_000_000_000_000, "sent_at") == 1_700_000_000_000_000
    assert clean(0.123456, "took_s") == 0.123456
    assert clean(4711, "code") == HIDDEN
    assert clean(4711.5, "x") == HIDDEN
    assert clean(999, "x") == 999
    assert clean(4915112345678, "to") == "XXXXXXXXX5678"
    assert clean("4711", "port") == HIDDEN
    assert clean("12345678", "incident") == "12345678"
    assert clean("code 12345678", "incident") == "code XXXX"
    assert clean("localhost:7443", "api") == "localhost:7443"
    assert clean("localhost:7443", "why") == "localhost:XXXX"
    assert clean({"port": 3550}, "port") == {"port": HIDDEN}


def test_values() -> None:
    """Texts deep inside are redacted, keys too; what has no JSON form becomes redacted text."""
    assert clean({"+4915112345678": ["4711", ("4711",), {"x": b"4711"}]}) == {
        "+49XXXXXXX5678": [HIDDEN, [HIDDEN], {"x": "b'XXXX'"}]
    }
    assert clean(ValueError("to +4915112345678")) == "to +49XXXXXXX5678"
    assert clean(Awkward("+4915112345678")) == "+49XXXXXXX5678"
    assert clean(Awkward(None)) == "<Awkward without a text: RuntimeError>"
    assert clean(10**5000, "count") == "<int without a text: ValueError>"
    assert [clean(value) for value in (None, True, float("inf"), float("nan"))] == [None, True, "inf", "nan"]
