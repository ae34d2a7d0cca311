"""Others judge what is sealed: npm's jose seals as docs/sealed-content.md says and our node opens it, and opens what
our client seals; openssl does the private key's part by hand, for RSA and for ECDH-ES.

What openssl's commands cannot do is AES-GCM: that step, and the concatenation KDF of RFC 7518 §4.6.2, are done here,
from the RFC, with `cryptography`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwcrypto.jwk import JWK

from gateway.sealed.binding import SECOND, Bearer, check_bearer
from gateway.sealed.compact import read_header
from gateway.sealed.keys import PayloadKeys as NodeKeys
from gateway.sealed.opening import open_sealed
from smsgw.client import Message
from smsgw.client.sealing import read_keys, seal
from smsgw.v1.message_pb2 import SealedContent
from smsgw.v1.message_service_pb2 import GetPayloadKeysResponse
from tests.gateway.sealed.keys import hashed, key_file, payload_key
from tests.interop.conftest import ROOT, SCRIPTS

pytestmark = pytest.mark.interop

NOW_S = 1_790_000_000
TO = "+4915112345678"
TEXT = "Ваш код 4711 £"


def jose(node_environment: dict[str, str], **orders: Any) -> dict[str, Any]:
    """Have npm's jose do something; its answer."""
    orders["protos"] = str(ROOT / "protos")
    command = ["node", str(SCRIPTS / "jose_judge.js"), json.dumps(orders)]
    environment = {**os.environ, **node_environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.stdout, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert "error" not in answer, answer
    return answer


def ours(kind: str, text: str = TEXT) -> tuple[Message, str]:
    """Return a message, and the JWE that our client makes of it."""
    key = payload_key(kind)
    response = GetPayloadKeysResponse(jwk_set=NodeKeys([key]).published(NOW_S * SECOND), tenant="demo")
    message = Message(to=TO, sender="ACME", category="OTP", text=text, sealed=True)
    jwe = seal(message, read_keys(response, 0.0), NOW_S).sealed_jwe
    assert jwe is not None
    return message, jwe


@pytest.mark.parametrize("kind", ["p256", "x25519", "rsa2048", "rsa4096"])
def test_npm_jose_seals_and_our_node_opens(node_environment: dict[str, str], kind: str) -> None:
    """By the published JWK and the page of the format alone."""
    key = payload_key(kind)
    (published,) = json.loads(NodeKeys([key]).published(NOW_S * SECOND))["keys"]
    sealed = jose(
        node_environment, action="seal", jwk=published, tenant="demo", recipient=TO, idempotencyKey="key-1",
        expires=NOW_S + 300, text=TEXT,
    )  # fmt: skip
    header = read_header(sealed["jwe"])
    bearer = Bearer("demo", TO, "key-1", NOW_S * SECOND)
    check_bearer(header, bearer, NOW_S * SECOND)
    assert open_sealed(sealed["jwe"], header, key, bearer).text == TEXT


@pytest.mark.parametrize("kind", ["p256", "x25519", "rsa2048", "rsa4096"])
def test_our_client_seals_and_npm_jose_opens(node_environment: dict[str, str], kind: str) -> None:
    """With the node's private key, jose finds the text, and a header bound to the recipient."""
    message, jwe = ours(kind)
    opened = jose(node_environment, action="open", jwk=json.loads(key_file(kind)), jwe=jwe)
    assert opened["text"] == TEXT
    header = opened["header"]
    assert header["smsgw.to"] == hashed(TO, bytes.fromhex(opened["salt"]))
    assert (header["smsgw.tenant"], header["smsgw.key"]) == ("demo", message.idempotency_key)


def octets(part: str) -> bytes:
    """Return what base64url without padding says."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def private_pem(folder: Path, kind: str) -> Path:
    """Write a node's private key as PEM, for openssl."""
    path = folder / "private.pem"
    path.touch(mode=0o600)
    path.write_bytes(JWK.from_json(key_file(kind).decode()).export_to_pem(private_key=True, password=None))
    return path


def openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    """Run openssl; what it prints."""
    done = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def opened_by_hand(jwe: str, content_key: bytes) -> str:
    """Decrypt the content (RFC 7516 §5.2): the protected header, as it stands there, is the associated data."""
    header, _, vector, ciphertext, tag = jwe.split(".")
    plaintext = AESGCM(content_key).decrypt(octets(vector), octets(ciphertext) + octets(tag), header.encode("ascii"))
    return SealedContent.FromString(plaintext).content.text


@pytest.mark.parametrize("kind", ["rsa2048", "rsa4096"])
def test_openssl_opens_rsa(tmp_path: Path, kind: str) -> None:
    """openssl takes the content key out of the JWE by OAEP with SHA-256, and MGF1 with SHA-256."""
    _, jwe = ours(kind)
    content_key = openssl(
        "pkeyutl", "-decrypt", "-inkey", str(private_pem(tmp_path, kind)), "-pkeyopt", "rsa_padding_mode:oaep",
        "-pkeyopt", "rsa_oaep_md:sha256", "-pkeyopt", "rsa_mgf1_md:sha256", stdin=octets(jwe.split(".")[1]),
    )  # fmt: skip
    assert opened_by_hand(jwe, content_key) == TEXT


def test_openssl_opens_ecdh(tmp_path: Path) -> None:
    """openssl agrees on the secret with the ephemeral key in the header; the KDF is that of RFC 7518 §4.6.2."""
    _, jwe = ours("p256")
    epk = json.loads(octets(jwe.split(".")[0]))["epk"]
    x, y = (int.from_bytes(octets(epk[name]), "big") for name in ("x", "y"))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    peer = tmp_path / "peer.pem"
    peer.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    agreed = openssl("pkeyutl", "-derive", "-inkey", str(private_pem(tmp_path, "p256")), "-peerkey", str(peer))
    algorithm = b"A256GCM"
    other = len(algorithm).to_bytes(4, "big") + algorithm + bytes(4) + bytes(4) + (256).to_bytes(4, "big")
    content_key = hashlib.sha256((1).to_bytes(4, "big") + agreed + other).digest()
    assert opened_by_hand(jwe, content_key) == TEXT
