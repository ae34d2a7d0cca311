"""The authority: ties the three parties to the keys, so that nothing is signed without a plan or handed out unchecked.

It reads no clock: `now` comes with each request.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from certs.bundle import Bundle
from certs.ca import store
from certs.ca.checker import check_authority, check_leaf
from certs.ca.profile import LeafRequest, plan_intermediate, plan_leaf, plan_root
from certs.ca.signer import sign
from certs.errors import AuthorityError
from certs.spiffe_id import TrustDomain
from certs.svid import X509Svid


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new key on P-256: the only kind that this authority issues for."""
    return ec.generate_private_key(ec.SECP256R1())


class Authority:
    """A root that signs one intermediate, which signs leafs. Safe to use from one thread at a time."""

    def __init__(self, directory: Path, stored: store.StoredAuthority) -> None:
        """Raises AuthorityError when the parts do not belong together."""
        if stored.intermediate_key.public_key() != stored.intermediate.public_key():
            raise AuthorityError(
                f"{directory}: the intermediate's key and certificate do not fit: "
                f"run `smsgw ca renew --dir {directory}`"
            )
        try:
            stored.intermediate.verify_directly_issued_by(stored.root)
        except (ValueError, TypeError, InvalidSignature) as refused:
            raise AuthorityError(
                f"{directory}: the root did not sign the intermediate: restore both from one backup"
            ) from refused
        self._stored = stored

    @classmethod
    def create(
        cls,
        directory: Path,
        trust_domain: TrustDomain,
        root_directory: Path,
        now: dt.datetime,
        *,
        development: bool = False,
    ) -> Authority:
        """Make a new authority: `root_directory` keeps the root's key, and may be `directory`.

        `development` marks the root as one that nodes in production refuse.

        Raises AuthorityError when there is one already.
        """
        store.require_room(directory, root_directory)
        root_key, intermediate_key = new_key(), new_key()
        public = root_key.public_key()
        plan = plan_root(trust_domain, public, x509.random_serial_number(), now, development=development)
        root = check_authority(sign(plan, None, root_key), trust_domain, public, None, path_length=1)
        stored = store.StoredAuthority(
            trust_domain=trust_domain,
            root=root,
            intermediate=_new_intermediate(trust_domain, root, root_key, intermediate_key.public_key(), now),
            intermediate_key=intermediate_key,
        )
        store.create(directory, root_directory, stored, root_key)
        return cls(directory, stored)

    @classmethod
    def open(cls, directory: Path) -> Authority:
        """Return the authority in `directory`. Raises AuthorityError or SvidFileError."""
        return cls(directory, store.load(directory))

    @property
    def trust_domain(self) -> TrustDomain:
        """For whom it issues."""
        return self._stored.trust_domain

    @property
    def intermediate(self) -> x509.Certificate:
        """The certificate that issues now."""
        return self._stored.intermediate

    @property
    def bundle(self) -> Bundle:
        """The trust domain's bundle: the root."""
        return Bundle(trust_domain=self._stored.trust_domain, authorities=(self._stored.root,))

    def sign_leaf(
        self, request: LeafRequest, key: ec.EllipticCurvePublicKey, now: dt.datetime
    ) -> tuple[x509.Certificate, ...]:
        """Return leaf and intermediate for a key that the workload keeps. Raises ProfileRefused, CheckFailed."""
        issuer = self._stored.intermediate
        plan = plan_leaf(request, self.trust_domain, key, x509.random_serial_number(), now, issuer)
        der = sign(plan, issuer.subject, self._stored.intermediate_key)
        return check_leaf(der, request, key, issuer, now), issuer

    def issue(self, request: LeafRequest, now: dt.datetime) -> X509Svid:
        """Return an SVID with a new key. Raises ProfileRefused, CheckFailed."""
        key = new_key()
        return X509Svid(chain=self.sign_leaf(request, key.public_key(), now), key=key)


def renew_intermediate(directory: Path, root_directory: Path, now: dt.datetime) -> Authority:
    """Give the authority in `directory` a new intermediate with a new key; SVIDs of the old one stay valid.

    Raises AuthorityMissing when the root's key is not in `root_directory`, AuthorityError when it is another root's.
    """
    stored, root_key = store.load(directory), store.load_root_key(root_directory)
    if root_key.public_key() != stored.root.public_key():
        raise AuthorityError(f"the key in {root_directory} is not that of the root in {directory}: name the right one")
    key = new_key()
    intermediate = _new_intermediate(stored.trust_domain, stored.root, root_key, key.public_key(), now)
    store.replace_intermediate(directory, intermediate, key)
    return Authority.open(directory)


def _new_intermediate(
    trust_domain: TrustDomain,
    root: x509.Certificate,
    root_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
) -> x509.Certificate:
    plan = plan_intermediate(trust_domain, key, x509.random_serial_number(), now, root)
    return check_authority(sign(plan, root.subject, root_key), trust_domain, key, root, path_length=0)
