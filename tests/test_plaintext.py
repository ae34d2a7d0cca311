"""The search itself: what is planted is found, whatever stands around it, and nothing is found by chance."""

from __future__ import annotations

import base64
import random
from pathlib import Path

import pytest

from tests.plaintext import Place, Search, files_of

TEXT = "Ihr Kode: 482913 für Müller"
NUMBER = "4915790123456"
JUNK = random.Random(7).randbytes(50_000)  # noqa: S311 -- the same on each run
GSM = str.maketrans({"ü": "\x7e"})  # what TS 23.038 §6.2.1 says; the others of these texts are as in ASCII


def packed(text: str) -> bytes:
    """Pack the septets of a text, bit by bit, the lowest first (TS 23.038 §6.1.2.1)."""
    bits = "".join(f"{ord(character):07b}"[::-1] for character in text.translate(GSM))
    return bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))


def swapped(digits: str) -> bytes:
    """Write digits as SMS does: pairs, the nibbles swapped."""
    return bytes.fromhex("".join(digits[at + 1] + digits[at] for at in range(0, len(digits), 2)))


PLANTED: dict[str, bytes] = {
    "utf-8": f"to {TEXT}.".encode(),
    "utf-16-le": f"to {TEXT}.".encode("utf-16-le"),
    "utf-16-be": f"to {TEXT}.".encode("utf-16-be"),
    "gsm unpacked": f"to {TEXT}.".translate(GSM).encode("ascii"),
    **{f"gsm packed, {n} septets before": packed("x" * n + TEXT + "yz") for n in range(8)},
    **{f"gsm packed number, {n} septets before": packed("x" * n + NUMBER + "yz") for n in range(8)},
    "hex": f"to {TEXT}.".encode().hex().encode(),
    "upper-case hex": f"to {TEXT}.".encode().hex().upper().encode(),
    "hex of utf-16-be": TEXT.encode("utf-16-be").hex().encode(),
    "hex of a number": NUMBER.encode().hex().encode(),
    **{f"base64, {n} octets before": base64.b64encode(b"x" * n + TEXT.encode() + b"y") for n in range(3)},
    **{f"base64url, {n} octets before": base64.urlsafe_b64encode(b"x" * n + TEXT.encode()) for n in range(3)},
    **{f"base64 of utf-16-le, {n} before": base64.b64encode(b"x" * n + TEXT.encode("utf-16-le")) for n in range(3)},
    **{f"base64 of a number, {n} before": base64.b64encode(b"x" * n + NUMBER.encode()) for n in range(3)},
    "json": b'{"text": "Ihr Kode: 482913 f\\u00fcr M\\u00fcller"}',
    "python": b"Error('Ihr Kode: 482913 f\\xfcr M\\xfcller')",
    "number": f"+{NUMBER}".encode(),
    "number in utf-16-le": f"+{NUMBER}".encode("utf-16-le"),
    "semi-octets": swapped(NUMBER + "0"),
    "semi-octets, one digit before": swapped("0" + NUMBER),
    "bcd": bytes.fromhex("0" + NUMBER),
    "bcd, from the first digit": bytes.fromhex(NUMBER + "f"),
}


@pytest.mark.parametrize("octets", PLANTED.values(), ids=PLANTED)
@pytest.mark.parametrize("offset", [0, 1, 4093])
def test_planted(tmp_path: Path, octets: bytes, offset: int) -> None:
    """Each form is found in a file, wherever it stands."""
    search = Search({"text": TEXT, "number": NUMBER})
    file = tmp_path / "data" / "deep" / "smsgw.db-wal"
    file.parent.mkdir(parents=True)
    file.write_bytes(JUNK)
    assert search.leaks(files_of(tmp_path)) == []
    file.write_bytes(JUNK[:offset] + octets + JUNK[offset:])
    leaks = search.leaks(files_of(tmp_path))
    assert leaks
    assert {leak.place for leak in leaks} == {f"{tmp_path.name}/data/deep/smsgw.db-wal"}


def test_file_names(tmp_path: Path) -> None:
    """A file's name is searched too, even of an empty one."""
    (tmp_path / f"spool-{NUMBER}").touch()
    leaks = Search({"number": NUMBER}).leaks(files_of(tmp_path))
    assert {leak.place for leak in leaks} == {"the names of files"}
    assert str(leaks[0]) == "number in the names of files, as UTF-8, at octet 6"


def test_masked_is_no_leak() -> None:
    """What may be shown of a number is not taken for it."""
    places = [Place("log", b"+49XXXXXXX3456 +4915790199999 " + TEXT[:9].encode())]
    assert Search({"text": TEXT, "number": NUMBER}).leaks(places) == []


def test_short_needles() -> None:
    """A needle that would be found by chance is refused."""
    with pytest.raises(ValueError, match="too short"):
        Search({"code": "123456"})
