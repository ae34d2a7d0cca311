"""Notes are those of C2SP signed-note: what others have signed is verified, and what we sign they verify."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.tlog.errors import BadSignature, MalformedLog, TlogError
from gateway.tlog.notes import (
    COSIGNATURE,
    ED25519,
    MAX_NOTE,
    MAX_SIGNATURES,
    Note,
    Signature,
    Signer,
    VerifyingKey,
    parse,
    parse_signatures,
    parse_vkey,
    sign,
    verify,
)

# The key, the text and the signature of golang.org/x/mod/sumdb/note, the format's first implementation.
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SECRET = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
LINE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
NOTE = f"{TEXT}\n{LINE}".encode()
PETER = Signer("PeterNeumann", Ed25519PrivateKey.from_private_bytes(SECRET))
OTHER = Signer("example.org/other", Ed25519PrivateKey.from_private_bytes(b"\7" * 32))


def test_the_reference_note() -> None:
    """A note that another implementation has signed verifies, and its key signs the same octets here."""
    key = parse_vkey(VKEY)
    note = parse(NOTE)
    assert verify(note, [key]) == [key]
    assert note.encode() == NOTE
    assert key.vkey == VKEY
    assert PETER.key == key
    assert sign(TEXT, [PETER]).encode() == NOTE


def test_the_note_of_the_specification() -> None:
    """A text may have empty lines: the last one parts it from the signatures."""
    text = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned \u00e8 subito sera.\n"
    line = (
        "\u2014 quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ih"
        "AQwaqP3ZekRwNtIc=\n"
    )
    note = parse(f"{text}\n{line}".encode())
    assert note.text == text
    assert note.signatures[0].name == "quasimodo.example/salvatore"
    assert note.signatures[0].key_id.hex() == "367ba04b"
    assert len(note.signatures[0].octets) == 64


def test_who_has_signed() -> None:
    """Signatures of unknown keys are ignored; a wrong one of a known key makes the note invalid."""
    note = sign(TEXT, [PETER, OTHER])
    assert verify(note, [OTHER.key]) == [OTHER.key]
    assert verify(note, [PETER.key, OTHER.key]) == [PETER.key, OTHER.key]
    with pytest.raises(BadSignature, match="none of the keys"):
        verify(note, [])
    changed = Note(TEXT.replace("your", "thy"), note.signatures)
    with pytest.raises(BadSignature, match="PeterNeumann"):
        verify(changed, [PETER.key])
    forged = Note(TEXT, (Signature("PeterNeumann", PETER.key.id, bytes(64)), OTHER.sign(TEXT)))
    assert verify(forged, [OTHER.key]) == [OTHER.key]
    with pytest.raises(BadSignature):
        verify(forged, [OTHER.key, PETER.key])


def test_a_name_or_an_id_alone_is_not_a_key() -> None:
    """A signature under the name of a known key and another id is of an unknown key."""
    signature = PETER.sign(TEXT)
    for stranger in (signature._replace(key_id=b"abcd"), signature._replace(name="Peter")):
        with pytest.raises(BadSignature, match="none of the keys"):
            verify(Note(TEXT, (stranger,)), [PETER.key])


def test_a_key_that_cosigns_signs_no_text() -> None:
    """A witness's key has another id, and its signatures are none of a text."""
    key = VerifyingKey("PeterNeumann", COSIGNATURE, PETER.key.public)
    assert key.id != PETER.key.id
    note = Note(TEXT, (PETER.sign(TEXT)._replace(key_id=key.id),))
    with pytest.raises(BadSignature):
        verify(note, [key])
    assert parse_vkey(key.vkey) == key


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        NOTE[:-1],
        TEXT.encode(),
        f"{TEXT}\n".encode(),
        f"\n\n{LINE}".encode(),
        f"{TEXT}{LINE}".encode(),
        f"{TEXT}\n{LINE}\n".encode(),
        f"{TEXT}\n- {LINE[2:]}".encode(),
        f"{TEXT}\n\u2014 a b {LINE[2:]}".encode(),
        f"{TEXT}\n\u2014 a+b {LINE[15:]}".encode(),
        f"{TEXT}\n\u2014 {LINE[14:]}".encode(),
        f"{TEXT}\n\u2014 a AAAA\n".encode(),
        f"{TEXT}\n\u2014 a AAAAAA==\n".encode(),
        f"{TEXT}\n\u2014 a !!!!\n".encode(),
        f"{TEXT}\n\u2014 a AAAAAAB=\n".encode(),
        f"{TEXT}\r\n{LINE}".encode(),
        NOTE.replace(b"think", b"thi\0k"),
        NOTE.replace(b"think", b"thi\xffk"),
        NOTE + b"x" * MAX_NOTE,
        NOTE + LINE.encode() * MAX_SIGNATURES,
    ],
)
def test_what_is_no_note(wrong: bytes) -> None:
    """Octets in another form are refused."""
    with pytest.raises(MalformedLog):
        parse(wrong)


def test_many_signatures() -> None:
    """As many signatures as are allowed are read."""
    assert len(parse_signatures(LINE * MAX_SIGNATURES)) == MAX_SIGNATURES
    assert len(parse(f"{TEXT}\n{LINE * 16}".encode()).signatures) == 16


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "PeterNeumann",
        VKEY[:-1],
        VKEY.replace("c74f20a3", "c74f20a4"),
        VKEY.replace("c74f20a3", "C74F20A3"),
        VKEY.replace("Peter", "Piotr"),
        VKEY.replace("ARpc", "ARpd"),
        VKEY.replace("ARpc", "Ahpc"),
        VKEY + "\n",
        "a" * 300 + VKEY,
    ],
)
def test_what_is_no_public_key(wrong: str) -> None:
    """A key that was not copied whole is refused."""
    with pytest.raises(MalformedLog):
        parse_vkey(wrong)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\n", "n" * 256])
def test_names_that_no_key_has(name: str) -> None:
    """A name that would make a line ambiguous is no key's name."""
    with pytest.raises(MalformedLog):
        Signer(name, Ed25519PrivateKey.from_private_bytes(SECRET))


@pytest.mark.parametrize("text", ["", "a", "a\0\n", "a\tb\n", "a" * (64 << 10) + "\n"])
def test_texts_that_are_not_signed(text: str) -> None:
    """What could be no note is not signed."""
    with pytest.raises(MalformedLog):
        PETER.sign(text)


def test_the_private_key_is_not_shown() -> None:
    """Neither octets nor text of a signer show its key."""
    assert SECRET.hex() not in repr(vars(PETER)) + repr(PETER)
    assert PETER.key.kind == ED25519


@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: f"{TEXT}\n{text}".encode()))
def test_octets_are_notes_in_one_form(octets: bytes) -> None:
    """Octets are the note that is read of them, or refused; none of them verifies."""
    try:
        note = parse(octets)
    except MalformedLog:
        return
    assert note.encode() == octets
    with pytest.raises(TlogError):
        verify(note, [PETER.key])
