"""Where the keys of intermediates, and those for JWT-SVIDs, are kept, and how they move.

    DIR/keys/KEY_ID.key        in the authority's directory: unless something else is recorded
    PLACE/KEY_ID.key           in another directory, until the standby takes over and its key moves into the first one
    a PKCS#11 token            where it was made, and from where it never moves

The record names the home of each key that is not in DIR; the paths of a token's library and PIN are in authority.json,
for the operator to change. It knows no state of an authority.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from certs.ca import store
from certs.ca.ledger import Ledger
from certs.ca.token_keys import Token
from certs.errors import AuthorityError, AuthorityMissing, CertsError, ProfileRefused

Place = Path | Token | None  # None: the authority's own directory
_DIRECTORY, _TOKEN = "dir", "token"
DEFAULT_PLACE: Final = "keys_place"  # settings of the record
STANDBY_PLACE: Final = "standby_place"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where keys are to be kept.

    Attributes:
        keys: those that issue, and those for JWT-SVIDs: a token, or None for the authority's directory.
        standby: the standby's: a directory of its own, another token, or None for the same place.

    Raises ProfileRefused for places that do not go together.
    """

    keys: Token | None = None
    standby: Place = None

    def __post_init__(self) -> None:
        if self.keys is not None and isinstance(self.standby, Path):
            raise ProfileRefused("a key in a directory cannot move into a token: give the standby a token of its own")
        if len({token.label for token in self.tokens}) < len(self.tokens):
            raise ProfileRefused("the standby's token is that of the keys which issue: name another one")

    @property
    def tokens(self) -> tuple[Token, ...]:
        """Those among them that are tokens."""
        return tuple(place for place in (self.keys, self.standby) if isinstance(place, Token))

    @property
    def settings(self) -> dict[str, str]:
        """The places as the record keeps them."""
        return {DEFAULT_PLACE: _setting(self.keys), STANDBY_PLACE: _setting(self.standby)}


def new_key_in(place: Place, role: str) -> tuple[ec.EllipticCurvePrivateKey, str]:
    """Return a new key on P-256 and its home; one for a directory is not written yet. Raises AuthorityError."""
    if isinstance(place, Token):
        name = f"smsgw {role} {secrets.token_hex(8)}"
        return place.new_key(name), json.dumps([_TOKEN, place.label, name])
    key = ec.generate_private_key(ec.SECP256R1())
    return key, "" if place is None else json.dumps([_DIRECTORY, str(place.resolve())])


def discard(place: Place, key_id: str, home: str) -> None:
    """Destroy a key that was made in vain, where it is outside; what cannot be destroyed stays, and does no harm."""
    with contextlib.suppress(CertsError):
        if isinstance(place, Token):
            place.destroy(_split(home)[2])
        elif isinstance(place, Path):
            store.destroy_key_in(place, key_id)


def require_root_apart(root_place: Path | Token, places: Places) -> None:
    """Raise ProfileRefused when the root's token is one that is used every day: its PIN would be at hand all day."""
    if isinstance(root_place, Token) and root_place.label in {token.label for token in places.tokens}:
        raise ProfileRefused(f"the {root_place} is to hold the root's key alone: name other tokens for the others")


def require_apart(directory: Path, place: Place) -> None:
    """Raise ProfileRefused when a directory for the standby's key is in the authority's, or that one in it."""
    if isinstance(place, Path) and (
        place.resolve().is_relative_to(directory.resolve()) or directory.resolve().is_relative_to(place.resolve())
    ):
        raise ProfileRefused(
            f"{place} is not apart from {directory}: name a directory of its own for the standby's key"
        )


def _setting(place: Place) -> str:
    if place is None:
        return ""
    return json.dumps([_TOKEN, place.label] if isinstance(place, Token) else [_DIRECTORY, str(place.resolve())])


class Keys:
    """The keys of one authority."""

    def __init__(self, directory: Path, ledger: Ledger) -> None:
        self._directory, self._ledger = directory, ledger

    def home_of(self, key_id: str) -> str:
        """Return where a key is: "" for the authority's directory. Raises AuthorityError."""
        with self._ledger.reading() as db:
            row = db.execute("SELECT home FROM key_homes WHERE key_id = ?", (key_id,)).fetchone()
        return "" if row is None else str(row[0])

    def where(self, key_id: str) -> str:
        """Return where a key is, for people."""
        home = self.home_of(key_id)
        if not home:
            return str(self._directory)
        kind, name, *_ = json.loads(home)
        return str(name) if kind == _DIRECTORY else f"PKCS#11 token {name}"

    def load(self, key_id: str, elsewhere: Path | None = None) -> ec.EllipticCurvePrivateKey:
        """Return a key; `elsewhere`: the directory in which its directory is now.

        Raises AuthorityError, SecretPermissionsError, and SvidFileError or AuthorityMissing when it is not there.
        """
        kind, name, *rest = _split(self.home_of(key_id))
        if kind == _TOKEN:
            return self._token(name).load(rest[0])
        if kind == _DIRECTORY:
            return store.load_key_in(elsewhere or Path(name), key_id)
        return store.load_key(self._directory, key_id)

    def holds(self, key_id: str) -> bool:
        """Say whether a key is at hand now: what cannot be looked at is not."""
        kind, name, *_ = _split(self.home_of(key_id))
        if kind == _DIRECTORY:
            return store.has_key_in(Path(name), key_id)
        if kind == _TOKEN:
            try:
                self.load(key_id)
            except CertsError:
                return False
            return True
        return store.has_key(self._directory, key_id)

    def keep(self, key_id: str, key: ec.EllipticCurvePrivateKey, home: str) -> None:
        """Write a new key where it belongs; one in a token is there. Raises SvidFileError, AuthorityError."""
        kind, name, *_ = _split(home)
        if kind == _DIRECTORY:
            store.save_key_in(Path(name), key_id, key)
        elif not kind:
            store.save_key(self._directory, key_id, key)

    @contextlib.contextmanager
    def moving(self, key_id: str, elsewhere: Path | None = None) -> Iterator[None]:
        """Have a key in the authority's directory when the block ends, if it is in another one; else do nothing.

        The block is the transaction that makes it issue, and records that by `moved`. When it fails, the key is where
        it was, and nowhere else; after it, the copy there is destroyed. Raises as `load` does.
        """
        kind, name, *_ = _split(self.home_of(key_id))
        if kind != _DIRECTORY:
            yield
            return
        before = elsewhere or Path(name)
        store.save_key(self._directory, key_id, self.load(key_id, elsewhere))
        try:
            yield
        except BaseException:
            with contextlib.suppress(CertsError):
                store.destroy_key(self._directory, key_id)
            raise
        try:
            store.destroy_key_in(before, key_id)
        except CertsError as refused:  # it issues already: that is no reason to fail
            _LOG.warning("the standby's key has moved, and its copy stays: destroy it by hand: %s", refused)

    def moved(self, key_id: str) -> None:
        """Record that a key is in the authority's directory now, unless it is in a token; within a transaction."""
        if _split(self.home_of(key_id))[0] == _DIRECTORY:
            self._ledger.set_home(key_id, "")

    def destroy(self, key_id: str) -> None:
        """Destroy a key; one that is gone already is no error. Raises SvidFileError, AuthorityError."""
        kind, name, *rest = _split(self.home_of(key_id))
        if kind == _TOKEN:
            self._token(name).destroy(rest[0])
        elif kind == _DIRECTORY:
            if not Path(name).is_dir():
                _LOG.warning("the revoked key %s was in %s, which is not there: destroy it by hand", key_id, name)
            store.destroy_key_in(Path(name), key_id)
        else:
            store.destroy_key(self._directory, key_id)
        if kind:
            with self._ledger.writing():
                self._ledger.set_home(key_id, "")

    def default_place(self) -> Token | None:
        """Return where keys are made that issue at once: a token, or None for the directory. Raises AuthorityError."""
        found = self._place(DEFAULT_PLACE)
        return found if isinstance(found, Token) else None

    def standby_place(self, active_key_id: str) -> Place:
        """Return where the next standby's key belongs: of the two places, not the one that the active one is in."""
        taken = _split(self.home_of(active_key_id))[:2] if active_key_id else ("", "")
        standby, default = self._place(STANDBY_PLACE), self.default_place()
        if isinstance(standby, Token) and taken == (_TOKEN, standby.label):
            return default
        return default if standby is None else standby

    def use(self, places: Places) -> None:
        """Have keys made in these places from now on. Raises SvidFileError, AuthorityError."""
        for token in places.tokens:
            store.add_token(self._directory, token)
        for name, value in places.settings.items():
            self._ledger.set(name, value)

    def _place(self, name: str) -> Place:
        kind, what, *_ = _split(self._ledger.setting(name))
        if kind == _TOKEN:
            return self._token(what)
        return Path(what) if kind == _DIRECTORY else None

    def _token(self, label: str) -> Token:
        found = store.tokens(self._directory).get(label)
        if found is None:
            raise AuthorityMissing(f"{self._directory}/authority.json does not say how the token {label!r} is reached")
        return found


def _split(home: str) -> tuple[str, ...]:
    """Return the parts of a home or a place: its kind first, "" for the authority's directory."""
    if not home:
        return "", ""
    try:
        found = json.loads(home)
    except ValueError:
        found = None
    if not isinstance(found, list) or len(found) < 2 or not all(isinstance(part, str) for part in found):
        raise AuthorityError("where a key is kept is not readable on record: restore it from a backup")
    return tuple(found)
