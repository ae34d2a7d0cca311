"""A root whose key is in a PKCS#11 token: an HSM, a smart card, SoftHSM2. The key is made there and never leaves.

It needs the package `python-pkcs11` (the extra `smsgw[pkcs11]`), which is loaded when a token is used. A session lasts
for one operation, so that the token can be taken away between two. The PIN is in a file of mode 0600, and in no
message.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from certs.errors import AuthorityError, AuthorityMissing
from certs.svid import read_secret

KEY_LABEL: Final = "smsgw root"
_SIZE: Final = 32  # of a coordinate on P-256


@dataclass(frozen=True, slots=True, kw_only=True)
class RootToken:
    """Where the root's key is.

    Attributes:
        module: the PKCS#11 library, such as /usr/lib/softhsm/libsofthsm2.so.
        label: the token's label.
        pin_file: its user PIN, in a file of mode 0600.
    """

    module: Path
    label: str
    pin_file: Path

    def __str__(self) -> str:
        return f"PKCS#11 token {self.label}"

    def new_key(self) -> TokenKey:
        """Make a key on P-256 that cannot be extracted. Raises AuthorityError when there is a root's key already."""
        with self.session(writing=True) as (session, pkcs11):
            if list(session.get_objects({pkcs11.Attribute.LABEL: KEY_LABEL})):
                raise AuthorityError(f"{self} holds a root key already: name another token for the root")
            named = pkcs11.util.ec.encode_named_curve_parameters("secp256r1")
            parameters = session.create_domain_parameters(
                pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: named}, local=True
            )
            public, _ = parameters.generate_keypair(store=True, label=KEY_LABEL)
            return TokenKey(self, _public(public, pkcs11))

    def load(self) -> TokenKey:
        """Return the root's key. Raises AuthorityMissing when it is not there."""
        with self.session() as (session, pkcs11):
            kind = {pkcs11.Attribute.LABEL: KEY_LABEL, pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY}
            found = list(session.get_objects(kind))
            if len(found) != 1:
                raise AuthorityMissing(f"{self} holds no root key of smsgw: name the right token with --root-token")
            return TokenKey(self, _public(found[0], pkcs11))

    def sign(self, digest: bytes) -> bytes:
        """Return the ECDSA signature of a SHA-256 digest, in DER. Raises AuthorityError."""
        with self.session() as (session, pkcs11):
            kind = {pkcs11.Attribute.LABEL: KEY_LABEL, pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}
            (key,) = session.get_objects(kind)
            raw = bytes(key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA))
        r, s = (int.from_bytes(half) for half in (raw[:_SIZE], raw[_SIZE:]))
        return encode_dss_signature(r, s)

    @contextlib.contextmanager
    def session(self, *, writing: bool = False) -> Iterator[tuple[Any, Any]]:
        """Give a session of the token, and the package. Raises AuthorityError, SvidFileError."""
        try:
            import pkcs11
            import pkcs11.util.ec
        except ImportError as refused:
            raise AuthorityError("PKCS#11 needs the package python-pkcs11: install smsgw[pkcs11]") from refused
        pin = read_secret(self.pin_file).decode(errors="replace").strip()
        try:
            token = pkcs11.lib(str(self.module)).get_token(token_label=self.label)
            with token.open(rw=writing, user_pin=pin) as session:
                yield session, pkcs11
        except (pkcs11.PKCS11Error, RuntimeError, ValueError) as refused:
            why = type(refused).__name__
            raise AuthorityError(
                f"{self} cannot be used: {why}: check --pkcs11-module, --root-token and the PIN"
            ) from (refused)


class TokenKey(ec.EllipticCurvePrivateKey):
    """A private key on P-256 in a token: it signs with ECDSA and SHA-256, and gives nothing else away."""

    def __init__(self, token: RootToken, public: ec.EllipticCurvePublicKey) -> None:
        self._token, self._public = token, public

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public half."""
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        """P-256."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """In bits."""
        return self._public.key_size

    def sign(self, data: object, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Sign with SHA-256. Raises AuthorityError."""
        algorithm = signature_algorithm.algorithm
        if isinstance(algorithm, Prehashed) or not isinstance(algorithm, hashes.SHA256):
            raise AuthorityError("a root's key signs with SHA-256")
        digest = hashes.Hash(hashes.SHA256())
        digest.update(data)  # type: ignore[arg-type]  # octets of any kind, as the interface has it
        return self._token.sign(digest.finalize())

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        """Refuse: it signs only."""
        del algorithm, peer_public_key
        self._refuse()

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        """Refuse: it never leaves the token."""
        self._refuse()

    def private_bytes(
        self,
        encoding: serialization.Encoding,
        format: serialization.PrivateFormat,  # noqa: A002 -- the interface's name
        encryption_algorithm: serialization.KeySerializationEncryption,
    ) -> bytes:
        """Refuse: it never leaves the token."""
        del encoding, format, encryption_algorithm
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise AuthorityError(f"the root's key is in the {self._token}: it signs, and does not leave it")

    def __copy__(self) -> TokenKey:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> TokenKey:
        return self


def _public(found: Any, pkcs11: Any) -> ec.EllipticCurvePublicKey:
    key = serialization.load_der_public_key(pkcs11.util.ec.encode_ec_public_key(found))
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise AuthorityError("the root's key in the token is not on P-256")
    return key
