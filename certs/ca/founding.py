"""How authorities come into being: a root, an intermediate below it, and all three of a new directory.

Each certificate is planned, signed and checked by three parties. What exists already, and how it changes, is for
`certs.ca.authority` and `certs.ca.rotation`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certs.ca import store
from certs.ca.checker import check_authority
from certs.ca.keys import Place, Places, discard, new_key_in, require_apart, require_root_apart
from certs.ca.ledger import key_id_of
from certs.ca.profile import INTERMEDIATE_LIFETIME, STANDBY_LIFETIME, plan_intermediate, plan_root
from certs.ca.signer import sign
from certs.ca.states import State
from certs.ca.token_keys import ROOT_NAME, Token
from certs.errors import CertsError
from certs.spiffe_id import TrustDomain


def found(
    directory: Path,
    trust_domain: TrustDomain,
    root_place: Path | Token,
    now: dt.datetime,
    *,
    development: bool,
    places: Places,
) -> store.NewAuthority:
    """Make an authority in `directory`: a root, an active intermediate and a standby; returns the root.

    When that fails, no key stays anywhere that was made for it. Raises AuthorityError, ProfileRefused, SvidFileError.
    """
    root_directory = root_place if isinstance(root_place, Path) else None
    require_apart(directory, places.standby)
    require_root_apart(root_place, places)
    store.require_room(directory, root_directory)
    with contextlib.ExitStack() as undo:
        root_key = _root_key(root_place, undo)
        root = new_root(trust_domain, root_key, now, development=development)
        active = new_intermediate(trust_domain, root, now, place=places.keys)
        _keep_outside(active, places.keys, undo)
        standby_place = places.standby or places.keys
        standby = new_intermediate(trust_domain, root, now, lifetime=STANDBY_LIFETIME, place=standby_place)
        _keep_outside(standby, standby_place, undo)
        intermediates = [(State.ACTIVE, active), (State.STANDBY, standby)]
        store.create(
            directory, root_directory, trust_domain, root, intermediates,
            settings=places.settings, tokens=places.tokens,
        )  # fmt: skip
        undo.pop_all()
    return root


def _root_key(place: Path | Token, undo: contextlib.ExitStack) -> ec.EllipticCurvePrivateKey:
    """Make a root's key; one in a token is destroyed when what follows fails."""
    if isinstance(place, Path):
        return ec.generate_private_key(ec.SECP256R1())
    key = place.new_key()
    undo.callback(_destroy_root, place)
    return key


def _destroy_root(token: Token) -> None:
    with contextlib.suppress(CertsError):
        token.destroy(ROOT_NAME)


def _keep_outside(made: store.NewAuthority, place: Place, undo: contextlib.ExitStack) -> None:
    """Write a key that has a directory of its own; what is outside is taken away when what follows fails."""
    key_id = key_id_of(made.certificate)
    undo.callback(discard, place, key_id, made.home)
    if isinstance(place, Path):
        store.save_key_in(place, key_id, made.key)


def new_root(
    trust_domain: TrustDomain, key: ec.EllipticCurvePrivateKey, now: dt.datetime, *, development: bool = False
) -> store.NewAuthority:
    """Return a new root for a new key. Raises CheckFailed."""
    public = key.public_key()
    plan = plan_root(trust_domain, public, x509.random_serial_number(), now, development=development)
    root = check_authority(sign(plan, None, key), trust_domain, public, None, path_length=1)
    return store.NewAuthority(certificate=root, key=key)


def new_intermediate(
    trust_domain: TrustDomain,
    root: store.NewAuthority,
    now: dt.datetime,
    *,
    lifetime: dt.timedelta = INTERMEDIATE_LIFETIME,
    crl_url: str = "",
    place: Place = None,
) -> store.NewAuthority:
    """Return a new intermediate with its key for `place`, signed by `root`, whose list is said to be at `crl_url`.

    Raises ProfileRefused, CheckFailed, and AuthorityError when a token does not make the key.
    """
    key, home = new_key_in(place, "intermediate")
    public, serial = key.public_key(), x509.random_serial_number()
    try:
        plan = plan_intermediate(
            trust_domain, public, serial, now, root.certificate, lifetime=lifetime, crl_url=crl_url
        )
        der = sign(plan, root.certificate.subject, root.key)
        certificate = check_authority(der, trust_domain, public, root.certificate, path_length=0, crl_url=crl_url)
    except CertsError:
        discard(place, "", home)
        raise
    return store.NewAuthority(certificate=certificate, key=key, home=home)
