"""How authorities change: prepare, activate, taint, revoke, and what is due by schedule.

Each change is one transaction of the record; a key is written before the authority that has it is recorded, and
destroyed after it is revoked. The overlap: what a retired intermediate signed stays valid to its end, and a new root is
in the bundle before anything is signed below it. When the active intermediate is tainted, the standby becomes active in
the same transaction.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from certs.ca import store
from certs.ca.authority import Authority, new_key
from certs.ca.crls import Crl, make_root
from certs.ca.founding import new_intermediate, new_root
from certs.ca.keys import Places, require_apart, require_root_apart
from certs.ca.ledger import AuthorityRecord, issuer_key_id_of, key_id_of
from certs.ca.profile import STANDBY_LIFETIME
from certs.ca.states import Kind, State
from certs.ca.token_keys import Token
from certs.errors import AuthorityError, CertsError, Reason, SvidFileError

_SPENT = frozenset({State.TAINTED, State.REVOKED})
TAKES_OVER_BEFORE = dt.timedelta(days=90)  # the end of the active intermediate, by schedule


def prepare(
    authority: Authority, root_place: Path | Token, now: dt.datetime, places: Places | None = None
) -> AuthorityRecord:
    """Sign a standby with the root whose key is in `root_place`; it signs nothing until it is activated.

    Its own key is kept in the standby's place: as `places` say, from now on, where they are given. The root makes its
    revocation list as well, which is good for thirteen months, while its key is at hand. Raises AuthorityError when
    there is a standby already or the key is no root's of this authority, AuthorityMissing when it is not there.
    """
    if authority.standby is not None:
        raise AuthorityError(
            f"{authority.standby.key_id} is the standby already: activate it, or taint and revoke it first",
            reason=Reason.AUTHORITY_STATE,
        )
    root = _root(authority, root_place)
    if places is not None:
        require_apart(authority.directory, places.standby)
        require_root_apart(root_place, places)
        authority.keys.use(places)
    place = authority.keys.standby_place(authority.issuing.key_id if authority.issuing else "")
    url = authority.crl_url_of(key_id_of(root.certificate))
    made = new_intermediate(authority.trust_domain, root, now, lifetime=STANDBY_LIFETIME, crl_url=url, place=place)
    key_id = key_id_of(made.certificate)
    authority.keys.keep(key_id, made.key, made.home)
    with authority.ledger.changing():
        authority.ledger.add_authority(Kind.INTERMEDIATE, State.STANDBY, made.certificate, now)
        authority.ledger.set_home(key_id, made.home)
    authority.refresh()
    make_root(authority.ledger, authority.find(key_id_of(root.certificate)), root.key, now)
    return authority.find(key_id)


def _root(authority: Authority, root_place: Path | Token) -> store.NewAuthority:
    """Return the root whose key is in `root_place`. Raises AuthorityError, AuthorityMissing."""
    key = store.load_root_key(root_place) if isinstance(root_place, Path) else root_place.load()
    roots = [record for record in authority.records if record.kind is Kind.ROOT]
    record = next((root for root in roots if root.certificate.public_key() == key.public_key()), None)
    if record is None:
        raise AuthorityError(
            f"the key in {root_place} is not that of a root of {authority.directory}: name the right one"
        )
    if record.state in _SPENT:
        raise AuthorityError(f"root {record.key_id} is {record.state}: prepare below another root")
    return store.NewAuthority(certificate=record.certificate, key=key)


def add_root(
    authority: Authority, root_place: Path | Token, now: dt.datetime, *, development: bool = False
) -> AuthorityRecord:
    """Make another root, its key in `root_place`, and publish it in the bundle before it signs anything live.

    Raises AuthorityError when a root's key is there already.
    """
    made = new_root(authority.trust_domain, _new_root_key(root_place), now, development=development)
    with authority.ledger.changing():
        authority.ledger.add_authority(Kind.ROOT, State.STANDBY, made.certificate, now)
    authority.refresh()
    record = authority.find(key_id_of(made.certificate))
    make_root(authority.ledger, record, made.key, now)
    return record


def list_of_root(authority: Authority, root_place: Path | Token, now: dt.datetime) -> Crl:
    """Make the next revocation list of the root whose key is in `root_place`.

    Raises AuthorityError when the key is no root's of this authority that is in use, AuthorityMissing when it is not
    there.
    """
    root = _root(authority, root_place)
    return make_root(authority.ledger, authority.find(key_id_of(root.certificate)), root.key, now)


def _new_root_key(root_place: Path | Token) -> ec.EllipticCurvePrivateKey:
    """Make a root's key, and keep it where it belongs. Raises AuthorityError, SvidFileError."""
    if not isinstance(root_place, Path):
        return root_place.new_key()
    store.require_no_root_key(root_place)
    key = new_key()
    try:
        store.write_root_key(root_place, key)
    except OSError as refused:
        raise AuthorityError(f"{root_place}: the root's key cannot be written: {refused}") from refused
    return key


def activate(authority: Authority, now: dt.datetime, standby_dir: Path | None = None) -> AuthorityRecord:
    """Make the standby issue; the one before it is retired, and so is its root when that changes.

    Its key moves into the authority's directory from the one that it was kept in, which is at `standby_dir` now where
    that is given. Raises AuthorityError when there is no standby, or its key is not whole; SvidFileError when it is not
    there.
    """
    standby = _usable_standby(authority, standby_dir)
    if standby is None:
        raise AuthorityError("no standby is prepared: run `smsgw ca rotate prepare`", reason=Reason.AUTHORITY_STATE)
    with authority.keys.moving(standby.key_id, standby_dir), authority.ledger.changing():
        for record in authority.records:
            if record.kind is Kind.INTERMEDIATE and record.state is State.ACTIVE:
                authority.ledger.set_state(record, State.RETIRED, now)
        _make_active(authority, standby, now)
        authority.keys.moved(standby.key_id)
    authority.refresh()
    return authority.active


def _usable_standby(authority: Authority, standby_dir: Path | None) -> AuthorityRecord | None:
    """Return the standby once its key is known to fit: a takeover must not be the moment to find out."""
    standby = authority.standby
    if standby is not None and (
        authority.keys.load(standby.key_id, standby_dir).public_key() != standby.certificate.public_key()
    ):
        raise AuthorityError(f"the key of the standby {standby.key_id} does not fit: revoke it, and prepare another")
    return standby


def _make_active(authority: Authority, standby: AuthorityRecord, now: dt.datetime) -> None:
    """Within a transaction: activate `standby` and its root; another root that was active is retired."""
    ledger, issuer = authority.ledger, issuer_key_id_of(standby.certificate)
    ledger.set_state(standby, State.ACTIVE, now)
    for record in authority.records:
        if record.kind is not Kind.ROOT:
            continue
        if record.key_id == issuer and record.state is State.STANDBY:
            ledger.set_state(record, State.ACTIVE, now)
        elif record.key_id != issuer and record.state is State.ACTIVE:
            ledger.set_state(record, State.RETIRED, now)


def taint(
    authority: Authority,
    record: AuthorityRecord,
    now: dt.datetime,
    suspect_from: dt.datetime,
    standby_dir: Path | None = None,
) -> tuple[AuthorityRecord, ...]:
    """Mark an authority, and all below it, as one whose key may be in other hands since `suspect_from`.

    It signs no more, and a sound standby whose key is there is active from this moment on. Returns what is tainted now.
    Raises AuthorityError when it is tainted or revoked already, or `suspect_from` lies in the future.
    """
    if suspect_from > now:
        raise AuthorityError("a key cannot be compromised in the future: name a moment that has been")
    reached = [record, *(found for found in _below(authority, record) if found.state not in _SPENT)]
    keys = {found.key_id for found in reached}
    standby = authority.standby
    takes_over = None if standby is None or standby.key_id in keys else _usable_or_none(authority, standby_dir)
    was_active = any(found.state is State.ACTIVE and found.kind is Kind.INTERMEDIATE for found in reached)
    if not was_active:
        takes_over = None
    with contextlib.ExitStack() as moving:
        if takes_over is not None:
            try:
                moving.enter_context(authority.keys.moving(takes_over.key_id, standby_dir))
            except CertsError:  # a key that cannot move must not keep a compromised one in use
                takes_over = None
        with authority.ledger.changing():
            for found in reached:
                authority.ledger.set_state(found, State.TAINTED, now, suspect_from=suspect_from)
            if takes_over is not None:
                _activate_beside(authority, takes_over, keys, now)
                authority.keys.moved(takes_over.key_id)
    authority.refresh()
    return tuple(found for found in authority.records if found.key_id in keys)


def _below(authority: Authority, record: AuthorityRecord) -> list[AuthorityRecord]:
    """Return the intermediates that a root signed; none below an intermediate."""
    return [
        found
        for found in authority.records
        if found.kind is Kind.INTERMEDIATE
        and found.key_id != record.key_id
        and issuer_key_id_of(found.certificate) == record.key_id
    ]


def _usable_or_none(authority: Authority, standby_dir: Path | None) -> AuthorityRecord | None:
    """Return the standby if it can take over: a damaged or absent one must not keep a compromised key in use."""
    try:
        return _usable_standby(authority, standby_dir)
    except (AuthorityError, SvidFileError):
        return None


def _activate_beside(authority: Authority, standby: AuthorityRecord, tainted: set[str], now: dt.datetime) -> None:
    """Within a transaction: activate `standby`; roots that were tainted in it are left as they are."""
    issuer = issuer_key_id_of(standby.certificate)
    authority.ledger.set_state(standby, State.ACTIVE, now)
    for record in authority.records:
        if record.kind is not Kind.ROOT or record.key_id in tainted:
            continue
        if record.key_id == issuer and record.state is State.STANDBY:
            authority.ledger.set_state(record, State.ACTIVE, now)


def revoke(
    authority: Authority, record: AuthorityRecord, now: dt.datetime, root_place: Path | Token | None = None
) -> tuple[AuthorityRecord, ...]:
    """Take an authority out of use for good, with all below it: keys here are destroyed, a root leaves the bundle.

    With the key of its root in `root_place`, an intermediate is on the root's revocation list at once. Returns what is
    revoked now. Raises AuthorityError for one that still issues, for the last root, and for another root's key.
    """
    root = None if root_place is None else _root_of(authority, record, root_place)
    below = [found for found in _below(authority, record) if found.state is not State.REVOKED]
    if any(found.state is State.ACTIVE for found in (record, *below)):
        raise AuthorityError(
            f"{record.key_id} is in use: activate or taint first, so that another one issues",
            reason=Reason.AUTHORITY_STATE,
        )
    if record.kind is Kind.ROOT and len(authority.bundle.authorities) == 1:
        raise AuthorityError(
            "the last root cannot be revoked, as readers take an empty bundle for a damaged one: "
            "run `smsgw ca rotate root` first",
            reason=Reason.AUTHORITY_STATE,
        )
    reached = [record, *below]
    with authority.ledger.changing():
        for found in reached:
            authority.ledger.set_state(found, State.REVOKED, now)
    for found in reached:
        authority.keys.destroy(found.key_id)
    authority.refresh()
    if root is not None:
        make_root(authority.ledger, authority.find(key_id_of(root.certificate)), root.key, now)
    keys = {found.key_id for found in reached}
    return tuple(found for found in authority.records if found.key_id in keys)


def _root_of(authority: Authority, record: AuthorityRecord, root_place: Path | Token) -> store.NewAuthority:
    """Return the root that signed `record`. Raises AuthorityError when its key is not the one in `root_place`."""
    root = _root(authority, root_place)
    if record.kind is Kind.ROOT or issuer_key_id_of(record.certificate) != key_id_of(root.certificate):
        raise AuthorityError(f"the key in {root_place} is not that of the root which signed {record.key_id}")
    return root


def rotate_if_due(
    authority: Authority, now: dt.datetime, before: dt.timedelta = TAKES_OVER_BEFORE
) -> AuthorityRecord | None:
    """Activate the standby when the active intermediate ends within `before`; returns it when it did.

    Raises AuthorityError, and SvidFileError when the standby's key is not at hand.
    """
    if authority.standby is None or authority.active.certificate.not_valid_after_utc - now > before:
        return None
    if authority.standby.certificate.not_valid_after_utc <= authority.active.certificate.not_valid_after_utc:
        return None  # their root ends with them: nothing is won
    return activate(authority, now)
