"""Checkpoints are those of C2SP tlog-checkpoint, in one form."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.tlog.checkpoints import Checkpoint, open_checkpoint, parse_text
from gateway.tlog.errors import BadSignature, MalformedLog
from gateway.tlog.notes import Signer, parse, sign

ORIGIN = "example.com/behind-the-sofa"
ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
TEXT = f"{ORIGIN}\n20852163\n{ROOT}\n"
# The example of the specification, with a witness's line.
EXAMPLE = (
    f"{TEXT}\n"
    "\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyW"
    "E+xeMcTOAYQ8=\n"
    "\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo"
    "0xUe+mbIUBkBIfZ+qnA==\n"
)
SIGNER = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"\5" * 32))


def test_the_example_of_the_specification() -> None:
    """The published checkpoint is read: origin, size, root, two lines of signatures."""
    note = parse(EXAMPLE.encode())
    checkpoint = parse_text(note.text)
    assert checkpoint == Checkpoint(origin=ORIGIN, size=20852163, root=base64.b64decode(ROOT))
    assert checkpoint.text() == TEXT
    assert [signature.name for signature in note.signatures] == [ORIGIN, "witness.example.com/w1"]
    assert int.from_bytes(note.signatures[1].octets[:8], "big") == 1679315147


def test_a_signed_checkpoint_is_opened() -> None:
    """Origin and signature are those that were asked for, or it is refused."""
    octets = sign(TEXT, [SIGNER]).encode()
    checkpoint, note = open_checkpoint(octets, ORIGIN, [SIGNER.key])
    assert checkpoint.size == 20852163
    assert note.encode() == octets
    with pytest.raises(MalformedLog, match="another log"):
        open_checkpoint(octets, "example.com/other", [SIGNER.key])
    with pytest.raises(BadSignature):
        open_checkpoint(octets, ORIGIN, [])
    with pytest.raises(BadSignature):
        open_checkpoint(octets.replace(b"20852163", b"20852164"), ORIGIN, [SIGNER.key])


def test_extension_lines_are_kept() -> None:
    """Lines behind the root are part of what is signed."""
    checkpoint = parse_text(TEXT + "one\ntwo words\n")
    assert checkpoint.extensions == ("one", "two words")
    assert checkpoint.text() == TEXT + "one\ntwo words\n"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        ORIGIN,
        f"{ORIGIN}\n1\n",
        TEXT[:-1],
        TEXT + "\n",
        TEXT + "\nx\n",
        f"\n1\n{ROOT}\n",
        f"{ORIGIN}\n01\n{ROOT}\n",
        f"{ORIGIN}\n-1\n{ROOT}\n",
        f"{ORIGIN}\n\u0661\n{ROOT}\n",
        f"{ORIGIN}\n1_0\n{ROOT}\n",
        f"{ORIGIN}\n99999999999999999999\n{ROOT}\n",
        f"{ORIGIN}\n1\n{ROOT[:-2]}\n",
        f"{ORIGIN}\n1\n{ROOT[4:]}\n",
        f"{ORIGIN}\n1\n{ROOT.replace('2I=', '2J=')}\n",
        f"{ORIGIN}\n1\n!{ROOT}\n",
        TEXT + "x\n" * 17,
        TEXT + "x" * 1025 + "\n",
        "o" * 256 + f"\n1\n{ROOT}\n",
        f"a\tb\n1\n{ROOT}\n",
    ],
)
def test_what_is_no_checkpoint(wrong: str) -> None:
    """A text in another form is refused."""
    with pytest.raises(MalformedLog):
        parse_text(wrong)


def test_values_that_cannot_be_written() -> None:
    """A checkpoint that could not be read is not written."""
    good = parse_text(TEXT)
    for wrong in (
        replace(good, origin=""),
        replace(good, origin="a\nb"),
        replace(good, size=-1),
        replace(good, root=b""),
        replace(good, extensions=("",)),
        replace(good, extensions=("a\nb",)),
    ):
        with pytest.raises(MalformedLog):
            wrong.text()


@given(st.text(max_size=120) | st.text(max_size=60).map(lambda text: TEXT + text))
def test_texts_are_checkpoints_in_one_form(text: str) -> None:
    """A text is the checkpoint that is read of it, or refused."""
    try:
        assert parse_text(text).text() == text
    except MalformedLog:
        return
