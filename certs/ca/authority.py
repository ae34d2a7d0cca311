"""The authority: ties the three parties to the keys and to the record.

Nothing is signed without a plan, handed out unchecked, or handed out unrecorded. It reads no clock: `now` comes with
each request. How its authorities change is in `certs.ca.rotation`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from certs import jwt_svid
from certs.bundle import Bundle
from certs.ca import store
from certs.ca.checker import check_leaf
from certs.ca.crls import make_root
from certs.ca.founding import found
from certs.ca.jwt_keys import jwt_keys, keep_keys, signing_key, taint_key
from certs.ca.keys import Keys, Places
from certs.ca.ledger import AuthorityRecord, IssuedRecord, Ledger, issuer_key_id_of, key_id_of
from certs.ca.profile import (
    LeafRequest,
    PublicKey,
    check_crl_place,
    check_request,
    plan_leaf,
)
from certs.ca.signer import sign
from certs.ca.states import Kind, State
from certs.ca.token_keys import Token
from certs.errors import AuthorityError, ProfileRefused, Reason, SvidFileError
from certs.leaf import read_leaf
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.svid import X509Svid, read_bounded, write_file
from certs.verify import public_key_hash

_CRL_PLACE = "crl_place"
JWT_TTL = dt.timedelta(minutes=5)
BUNDLE_REFRESH_S = 300  # how often readers of the bundle are told to look for a new one


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asked for a certificate, and what that was believed on: for the record."""

    by: str
    attested: str


LOCAL = Asked(by="local", attested="local")  # whoever may read the authority's directory


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new key on P-256: the kind that this authority makes by itself."""
    return ec.generate_private_key(ec.SECP256R1())


class Authority:
    """Roots, an active intermediate that signs leafs, and a standby. Safe to use from one thread at a time."""

    def __init__(self, directory: Path, trust_domain: TrustDomain, ledger: Ledger, *, damaged: bool = False) -> None:
        """Raises AuthorityError when the parts do not belong together, unless `damaged` says that this is known."""
        self._damaged = damaged
        self.directory = directory
        self.trust_domain = trust_domain
        self.ledger = ledger
        self.keys = Keys(directory, ledger)
        self._load()

    @classmethod
    def create(
        cls,
        directory: Path,
        trust_domain: TrustDomain,
        root_place: Path | Token,
        now: dt.datetime,
        *,
        development: bool = False,
        places: Places = Places(),  # noqa: B008 - it is frozen
    ) -> Authority:
        """Make a new authority with an active intermediate and a standby.

        `root_place` keeps the root's key: a directory, which may be `directory`, or a PKCS#11 token; `places` say where
        the others are kept. `development` marks the root as one that nodes in production refuse. Raises AuthorityError
        when there is one already.
        """
        root = found(directory, trust_domain, root_place, now, development=development, places=places)
        made = cls.open(directory)
        try:
            make_root(made.ledger, made.find(key_id_of(root.certificate)), root.key, now)  # while its key is at hand
        except BaseException:
            made.close()
            raise
        return made

    @classmethod
    def open(cls, directory: Path, *, damaged: bool = False) -> Authority:
        """Return the authority in `directory`. Raises AuthorityError or SvidFileError.

        With `damaged` it is opened also when its active intermediate cannot be used, to put another in its place.
        """
        trust_domain, ledger = store.load(directory)
        try:
            return cls(directory, trust_domain, ledger, damaged=damaged)
        except BaseException:
            ledger.close()
            raise

    @property
    def epoch(self) -> int:
        """The change of the record that was taken up last."""
        return self._epoch

    def close(self) -> None:
        """Let go of the files."""
        self.ledger.close()

    def refresh(self) -> bool:
        """Take up what another process changed; says whether there was something. Raises AuthorityError."""
        if self.ledger.epoch == self._epoch:
            return False
        self._load()
        return True

    def _load(self) -> None:
        with self.ledger.at_one_moment():  # the bundle's sequence has to be that of these roots and keys
            epoch, records = self.ledger.epoch, self.ledger.authorities()
            sequence, jwt = self.ledger.bundle_sequence, jwt_keys(self.ledger)
        active = _intermediate(records, State.ACTIVE)
        try:
            key = None if active is None else self._checked_key(active, records)
        except (AuthorityError, SvidFileError):
            if not self._damaged:
                raise
            key = None
        self._active, self._key, self._epoch, self.records = active, key, epoch, records
        self._sequence, self.jwt_keys = sequence, jwt
        self._crl_place = self.ledger.setting(_CRL_PLACE)
        self._write_bundle()

    def _checked_key(self, active: AuthorityRecord, records: tuple[AuthorityRecord, ...]) -> ec.EllipticCurvePrivateKey:
        """Return the key of the active intermediate, once it is known to fit it and it to fit its root."""
        key = self.keys.load(active.key_id)
        if key.public_key() != active.certificate.public_key():
            raise AuthorityError(
                f"{self.directory}: the key of intermediate {active.key_id} does not fit its certificate: restore it "
                "from a backup, or run `smsgw ca rotate activate`"
            )
        issuer = issuer_key_id_of(active.certificate)
        root = next((found for found in records if found.key_id == issuer and found.state is not State.REVOKED), None)
        try:
            if root is None or root.kind is not Kind.ROOT:
                raise ValueError("no such root")
            active.certificate.verify_directly_issued_by(root.certificate)
        except (ValueError, TypeError, InvalidSignature) as refused:
            raise AuthorityError(
                f"{self.directory}: no root here signed the intermediate {active.key_id}: restore all from one backup"
            ) from refused
        return key

    def _write_bundle(self) -> None:
        """Keep the bundle's file as the record says; a crash between the two is mended by the next opening."""
        path, content = self.directory / store.BUNDLE_FILE, self.bundle.to_pem()
        if not path.exists() or read_bounded(path, 4 * len(content) + 4096) != content:
            write_file(path, content, mode=0o644)

    @property
    def active(self) -> AuthorityRecord:
        """The intermediate that issues now. Raises AuthorityError when there is none, after a taint without standby."""
        if self._active is None:
            raise AuthorityError(
                f"{self.directory}: no intermediate is active, so nothing can be issued: run `smsgw ca rotate prepare` "
                "with the root's key, then `smsgw ca rotate activate`",
                reason=Reason.AUTHORITY_STATE,
            )
        return self._active

    @property
    def issuing(self) -> AuthorityRecord | None:
        """The intermediate that issues now; None when there is none."""
        return self._active

    @property
    def intermediate(self) -> x509.Certificate:
        """The certificate that issues now. Raises AuthorityError when there is none."""
        return self.active.certificate

    @property
    def standby(self) -> AuthorityRecord | None:
        """The intermediate that takes over; None when none is prepared."""
        return _intermediate(self.records, State.STANDBY)

    @property
    def bundle(self) -> Bundle:
        """The trust domain's bundle: every root that is not revoked."""
        roots = [found for found in self.records if found.kind is Kind.ROOT and found.state is not State.REVOKED]
        return Bundle(
            trust_domain=self.trust_domain,
            authorities=tuple(root.certificate for root in roots),
            sequence=self._sequence,
            refresh_hint_s=BUNDLE_REFRESH_S,
            jwt_authorities=tuple(key.authority for key in self.jwt_keys),
        )

    @property
    def crl_place(self) -> str:
        """The URL below which certificates say that the revocation lists are; empty when they do not say."""
        return self._crl_place

    def set_crl_place(self, place: str) -> None:
        """Have certificates say from now on where the lists are; empty: not at all. Raises ProfileRefused."""
        self.ledger.set(_CRL_PLACE, check_crl_place(place) if place else "")
        self._load()

    def crl_url_of(self, key_id: str) -> str:
        """Return where the list of the authority with this key id is said to be; empty when it is not said."""
        return f"{self._crl_place}{key_id}.crl" if self._crl_place else ""

    def key_of(self, record: AuthorityRecord) -> ec.EllipticCurvePrivateKey:
        """Return the key of an intermediate. Raises AuthorityError, SvidFileError when it is not here."""
        if record is self._active and self._key is not None:
            return self._key
        key = self.keys.load(record.key_id)
        if key.public_key() != record.certificate.public_key():
            raise AuthorityError(f"{self.directory}: the key of {record.key_id} does not fit its certificate")
        return key

    def find(self, key_id: str) -> AuthorityRecord:
        """Return the authority with this key id, or with the only one that starts so. Raises AuthorityError."""
        found = [record for record in self.records if record.key_id.startswith(key_id.lower())]
        if len(found) != 1 or len(key_id) < 8:
            what = "no authority has" if not found else "several authorities have, or too few digits make,"
            raise AuthorityError(f"{what} the key id {key_id[:40]!a}: `smsgw ca show` lists them")
        return found[0]

    def sign_leaf(
        self, request: LeafRequest, key: PublicKey, now: dt.datetime, asked: Asked = LOCAL
    ) -> tuple[x509.Certificate, ...]:
        """Return leaf and intermediate for a key that the workload keeps, once they are on record.

        Raises ProfileRefused, CheckFailed, CertificateRevoked, and AuthorityError when it cannot be recorded.
        """
        issuer = self.intermediate
        url = self.crl_url_of(self.active.key_id)
        plan = plan_leaf(request, self.trust_domain, key, x509.random_serial_number(), now, issuer, crl_url=url)
        if self._key is None:
            raise AuthorityError(f"{self.directory}: the active intermediate has no key here")
        leaf = check_leaf(sign(plan, issuer.subject, self._key), request, key, issuer, now, crl_url=url)
        self.ledger.record(_record_of(leaf, asked, now))
        return leaf, issuer

    def keep_jwt_keys(self, now: dt.datetime) -> None:
        """Have a key that signs JWT-SVIDs, and the next one in time. Raises AuthorityError."""
        if keep_keys(self.keys, self.ledger, now):
            self._load()

    def taint_jwt_key(self, key_id: str, now: dt.datetime) -> None:
        """Replace a JWT key at once. Raises AuthorityError."""
        taint_key(self.keys, self.ledger, key_id, now)
        self._load()

    def sign_jwt(self, spiffe_id: SpiffeId, audiences: Sequence[str], now: dt.datetime) -> tuple[str, dt.datetime]:
        """Return a JWT-SVID of five minutes and its end. Raises ProfileRefused, AuthorityError."""
        check_request(LeafRequest(spiffe_id=spiffe_id), self.trust_domain)
        self.keep_jwt_keys(now)
        signs = signing_key(self.jwt_keys, now)
        if signs is None:
            raise AuthorityError(f"{self.directory}: no key signs JWT-SVIDs: check this machine's clock")
        key, ends = self.keys.load(signs.key_id), now.replace(microsecond=0) + JWT_TTL
        try:
            return jwt_svid.sign(spiffe_id, audiences, ends, now, key_id=signs.key_id, key=key), ends
        except ValueError as refused:
            raise ProfileRefused(str(refused)) from refused

    def issue(self, request: LeafRequest, now: dt.datetime, asked: Asked = LOCAL) -> X509Svid:
        """Return an SVID with a new key. Raises ProfileRefused, CheckFailed, AuthorityError."""
        key = new_key()
        return X509Svid(chain=self.sign_leaf(request, key.public_key(), now, asked), key=key)


def _intermediate(records: tuple[AuthorityRecord, ...], state: State) -> AuthorityRecord | None:
    """Return the one intermediate in this state: there is one active and one standby at most."""
    return next((found for found in records if found.kind is Kind.INTERMEDIATE and found.state is state), None)


def _record_of(leaf: x509.Certificate, asked: Asked, now: dt.datetime) -> IssuedRecord:
    facts = read_leaf(leaf)
    return IssuedRecord(
        serial=facts.serial,
        spiffe_id=str(facts.spiffe_id),
        key_hash=public_key_hash(leaf),
        authority_key_id=facts.authority_key_id,
        asked_by=asked.by,
        attested_by=asked.attested,
        issued_at=now,
        not_before=facts.not_before,
        not_after=facts.not_after,
    )
