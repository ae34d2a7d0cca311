"""Cosignatures are those of C2SP tlog-cosignature: over time and text, of a key of its own kind."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.tlog.cosignatures import Cosigner, cosignatures, require_quorum, verify_cosignature
from gateway.tlog.errors import BadSignature
from gateway.tlog.notes import Note, Signer, key_id, sign
from gateway.tlog.witnessing import with_signatures
from tests.gateway.tlog.test_checkpoints import ORIGIN, TEXT

LOG = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"\5" * 32))
ONE, TWO = (Cosigner(f"witness.example/{n}", Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)) for n in (1, 2))
AT = 1679315147
NOTE = sign(TEXT, [LOG])


def test_what_is_signed() -> None:
    """The octets under the signature are the header, the time and the text, as the specification writes them."""
    line = ONE.cosign(TEXT, AT)
    message = f"cosignature/v1\ntime 1679315147\n{TEXT}".encode()
    Ed25519PublicKey.from_public_bytes(ONE.key.public).verify(line.octets[8:], message)
    assert int.from_bytes(line.octets[:8], "big") == AT
    assert line.key_id == key_id("witness.example/1", 4, ONE.key.public)
    assert verify_cosignature(ONE.key, TEXT, line).at == AT


def test_the_newest_of_each_witness() -> None:
    """Of several lines of a witness the newest counts; lines of strangers do not."""
    note = with_signatures(NOTE, [ONE.cosign(TEXT, AT), ONE.cosign(TEXT, AT + 5), TWO.cosign(TEXT, AT)])
    assert [(one.key, one.at) for one in cosignatures(note, [ONE.key])] == [(ONE.key, AT + 5)]
    assert len(require_quorum(note, [ONE.key, TWO.key], 2)) == 2
    with pytest.raises(BadSignature, match="1 witnesses"):
        require_quorum(note, [ONE.key], 2)
    assert require_quorum(NOTE, [ONE.key], 0) == []


def test_a_witness_counts_once() -> None:
    """Two lines of one witness are one voice."""
    note = with_signatures(NOTE, [ONE.cosign(TEXT, AT), ONE.cosign(TEXT, AT + 5)])
    with pytest.raises(BadSignature):
        require_quorum(note, [ONE.key, TWO.key], 2)


def test_what_is_no_cosignature() -> None:
    """Another text, another time, another length, another key: refused."""
    line = ONE.cosign(TEXT, AT)
    later = (AT + 1).to_bytes(8, "big") + line.octets[8:]
    for wrong in (line._replace(octets=later), line._replace(octets=line.octets[:-1]), line._replace(octets=b"")):
        with pytest.raises(BadSignature):
            verify_cosignature(ONE.key, TEXT, wrong)
        with pytest.raises(BadSignature):
            cosignatures(Note(TEXT, (wrong,)), [ONE.key])
    with pytest.raises(BadSignature):
        verify_cosignature(ONE.key, TEXT.replace("2085", "2086"), line)
    with pytest.raises(BadSignature):
        verify_cosignature(TWO.key, TEXT, line)
    with pytest.raises(BadSignature):
        verify_cosignature(LOG.key, TEXT, LOG.sign(TEXT))
    far = (1 << 63).to_bytes(8, "big") + line.octets[8:]
    with pytest.raises(BadSignature):
        verify_cosignature(ONE.key, TEXT, line._replace(octets=far))
