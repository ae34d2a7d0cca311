"""Keys in a PKCS#11 token: an HSM, a smart card, SoftHSM2. They are made there, sign there, and never leave.

It needs the package `python-pkcs11` (the extra `smsgw[pkcs11]`), which is loaded when a token is used. A session lasts
for one operation, so that the token can be taken away between two; one at a time, as a process logs in once. The PIN is
in a file of mode 0600, and in no message.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from certs.errors import AuthorityError, AuthorityMissing
from certs.svid import read_secret

ROOT_NAME: Final = "smsgw root"
_SIZE: Final = 32  # of a coordinate on P-256
_WAIT_S: Final = 30.0  # for another thread's operation to end
_ONE_AT_A_TIME: Final = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token, and how it is reached.

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

    def new_key(self, name: str = ROOT_NAME) -> TokenKey:
        """Make a key on P-256 that signs and cannot be extracted. Raises AuthorityError when the name is taken."""
        with self.session(writing=True) as (session, pkcs11):
            if list(session.get_objects({pkcs11.Attribute.LABEL: name})):
                raise AuthorityError(f"{self} holds a key named {name!r} already: name another token")
            named = pkcs11.util.ec.encode_named_curve_parameters("secp256r1")
            parameters = session.create_domain_parameters(
                pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: named}, local=True
            )
            public, private = parameters.generate_keypair(
                store=True,
                label=name,
                capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
                private_template={pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False},
            )
            if private[pkcs11.Attribute.EXTRACTABLE] or not private[pkcs11.Attribute.SENSITIVE]:
                private.destroy()
                public.destroy()
                raise AuthorityError(f"{self} makes keys that can be extracted: use another token")
            return TokenKey(self, name, _public(public, pkcs11))

    def load(self, name: str = ROOT_NAME) -> TokenKey:
        """Return a key by its name. Raises AuthorityMissing when it is not there."""
        with self.session() as (session, pkcs11):
            kind = {pkcs11.Attribute.LABEL: name, pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY}
            found = list(session.get_objects(kind))
            if len(found) != 1:
                raise AuthorityMissing(f"{self} holds no key named {name!r}: is it the right token?")
            return TokenKey(self, name, _public(found[0], pkcs11))

    def sign(self, name: str, digest: bytes) -> bytes:
        """Return the ECDSA signature of a SHA-256 digest, in DER. Raises AuthorityError."""
        with self.session() as (session, pkcs11):
            kind = {pkcs11.Attribute.LABEL: name, pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}
            (key,) = session.get_objects(kind)
            raw = bytes(key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA))
        r, s = (int.from_bytes(half) for half in (raw[:_SIZE], raw[_SIZE:]))
        return encode_dss_signature(r, s)

    def destroy(self, name: str) -> None:
        """Destroy a key; one that is gone already is no error. Raises AuthorityError."""
        with self.session(writing=True) as (session, pkcs11):
            for found in list(session.get_objects({pkcs11.Attribute.LABEL: name})):
                found.destroy()

    @contextlib.contextmanager
    def session(self, *, writing: bool = False) -> Iterator[tuple[Any, Any]]:
        """Give a session of the token, and the package. Raises AuthorityError, SvidFileError."""
        try:
            import pkcs11
            import pkcs11.util.ec
        except ImportError as refused:
            raise AuthorityError("PKCS#11 needs the package python-pkcs11: install smsgw[pkcs11]") from refused
        pin = read_secret(self.pin_file).decode(errors="replace").strip()
        if not _ONE_AT_A_TIME.acquire(timeout=_WAIT_S):
            raise AuthorityError(f"{self} has not answered for {_WAIT_S:.0f} seconds: is it there?")
        try:
            token = pkcs11.lib(str(self.module)).get_token(token_label=self.label)
            with token.open(rw=writing, user_pin=pin) as session:
                yield session, pkcs11
        except (pkcs11.PKCS11Error, RuntimeError, ValueError) as refused:
            why = type(refused).__name__
            raise AuthorityError(f"{self} cannot be used: {why}: check its module, its label and the PIN") from refused
        finally:
            _ONE_AT_A_TIME.release()


class TokenKey(ec.EllipticCurvePrivateKey):
    """A private key on P-256 in a token: it signs with ECDSA and SHA-256, and gives nothing else away."""

    def __init__(self, token: Token, name: str, public: ec.EllipticCurvePublicKey) -> None:
        self._token, self._name, self._public = token, name, public

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
            raise AuthorityError("a key in a token signs with SHA-256")
        digest = hashes.Hash(hashes.SHA256())
        digest.update(data)  # type: ignore[arg-type]  # octets of any kind, as the interface has it
        return self._token.sign(self._name, digest.finalize())

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
        raise AuthorityError(f"the key {self._name!r} is in the {self._token}: it signs, and does not leave it")

    def __copy__(self) -> TokenKey:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> TokenKey:
        return self


def _public(found: Any, pkcs11: Any) -> ec.EllipticCurvePublicKey:
    key = serialization.load_der_public_key(pkcs11.util.ec.encode_ec_public_key(found))
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise AuthorityError("the key in the token is not on P-256")
    return key
