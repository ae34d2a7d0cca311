"""Where keys are kept: apart from each other, moved when the standby takes over, and gone when they are revoked.

Tokens are played by a dictionary here; tests/interop/test_softhsm.py has real ones.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from certs.ca import rotation
from certs.ca.authority import Authority
from certs.ca.keys import Places
from certs.ca.profile import LeafRequest
from certs.ca.states import State
from certs.ca.token_keys import Token, TokenKey
from certs.errors import AuthorityError, ProfileRefused, SecretPermissionsError, SvidFileError
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.svid import X509Svid
from tests.certificates import new_key, utc_now

NOW = utc_now()
DOMAIN = TrustDomain("example.org")
REQUEST = LeafRequest(spiffe_id=SpiffeId(DOMAIN, "/billing"))


def issue(authority: Authority) -> X509Svid:
    """Issue an SVID."""
    return authority.issue(REQUEST, NOW)


def files(*folders: Path) -> list[str]:
    """Return the key ids of the key files below folders."""
    return [path.stem for folder in folders for path in folder.rglob("*.key")]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make an authority whose standby's key is apart."""
    places = Places(standby=tmp_path / "safe")
    return Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "root", NOW, places=places)


def standby_of(authority: Authority) -> str:
    """Return the key id of the standby."""
    assert authority.standby is not None
    return authority.standby.key_id


def test_the_folder_does_not_give_the_standby_away(authority: Authority, tmp_path: Path) -> None:
    """The authority's directory holds the active key only; the standby's is in its own, which is for its owner."""
    assert files(tmp_path / "ca") == [authority.active.key_id]
    assert files(tmp_path / "safe") == [standby_of(authority)]
    assert (tmp_path / "safe").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "safe").iterdir()} == {0o600}


def test_the_standbys_key_moves_when_it_takes_over(authority: Authority, tmp_path: Path) -> None:
    """After an activation its key is in the authority's directory and nowhere else, and the next standby's is apart."""
    standby = standby_of(authority)
    rotation.activate(authority, NOW)
    assert files(tmp_path / "safe") == []
    assert standby in files(tmp_path / "ca")
    assert issue(authority).authority_key_id == standby
    made = rotation.prepare(authority, tmp_path / "root", NOW)
    assert files(tmp_path / "safe") == [made.key_id]
    rotation.taint(authority, authority.active, NOW, NOW)
    assert issue(Authority.open(tmp_path / "ca")).authority_key_id == made.key_id
    assert files(tmp_path / "safe") == []


def test_a_directory_that_is_elsewhere_now(authority: Authority, tmp_path: Path) -> None:
    """While it is not there nothing is activated, and a taint leaves nothing issuing; it may come back elsewhere."""
    standby = standby_of(authority)
    (tmp_path / "safe").rename(tmp_path / "attached")
    with pytest.raises(SvidFileError, match="--standby-dir"):
        rotation.activate(authority, NOW)
    assert issue(authority).authority_key_id == authority.active.key_id
    rotation.taint(authority, authority.active, NOW, NOW)
    with pytest.raises(AuthorityError, match="nothing can be issued"):
        issue(authority)
    rotation.activate(authority, NOW, tmp_path / "attached")
    assert issue(authority).authority_key_id == standby
    assert files(tmp_path / "attached") == []


def test_a_taint_that_names_the_directory(authority: Authority, tmp_path: Path) -> None:
    """Where the standby's directory is attached elsewhere, one command taints and takes over."""
    standby = standby_of(authority)
    (tmp_path / "safe").rename(tmp_path / "attached")
    rotation.taint(authority, authority.active, NOW, NOW, tmp_path / "attached")
    assert issue(authority).authority_key_id == standby


def test_by_schedule(authority: Authority, tmp_path: Path) -> None:
    """The scheduled takeover finds the standby's key in its directory, too."""
    standby, ends = standby_of(authority), authority.intermediate.not_valid_after_utc
    rotation.rotate_if_due(authority, ends - rotation.TAKES_OVER_BEFORE)
    assert (authority.active.key_id, files(tmp_path / "safe")) == (standby, [])


def test_a_copy_that_cannot_be_destroyed(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that is read-only does not keep the standby from taking over: the copy that stays is told."""
    standby = standby_of(authority)

    def refuse(place: Path, key_id: str) -> None:
        raise SvidFileError(f"{place}: read-only")

    monkeypatch.setattr("certs.ca.store.destroy_key_in", refuse)
    rotation.activate(authority, NOW)
    assert issue(authority).authority_key_id == standby
    assert "destroy it by hand" in caplog.text


def test_a_takeover_that_fails_leaves_the_key_apart(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the record cannot be changed, the standby's key is where it was, and not in the authority's directory."""
    standby, active = standby_of(authority), authority.active.key_id

    def refuse(*_: object, **__: object) -> None:
        raise AuthorityError("disk full")

    monkeypatch.setattr(authority.ledger, "set_state", refuse)
    for fail in (
        lambda: rotation.activate(authority, NOW),
        lambda: rotation.taint(authority, authority.active, NOW, NOW),
    ):
        with pytest.raises(AuthorityError, match="disk full"):
            fail()
        assert (files(tmp_path / "ca"), files(tmp_path / "safe")) == ([active], [standby])
    monkeypatch.undo()
    assert rotation.activate(authority, NOW).key_id == standby


def test_a_key_that_cannot_move(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the standby's key cannot be written where it would issue, a taint counts all the same: nothing issues."""

    def refuse(*_: object) -> None:
        raise SvidFileError("disk full")

    monkeypatch.setattr("certs.ca.store.save_key", refuse)
    tainted = authority.active
    rotation.taint(authority, tainted, NOW, NOW)
    assert authority.find(tainted.key_id).state is State.TAINTED
    with pytest.raises(AuthorityError, match="nothing can be issued"):
        issue(authority)
    monkeypatch.undo()
    rotation.activate(authority, NOW)
    issue(authority)


def test_a_directory_for_others(authority: Authority, tmp_path: Path) -> None:
    """A standby's directory that others may enter is refused, like the authority's."""
    (tmp_path / "safe").chmod(0o750)
    with pytest.raises(SecretPermissionsError):
        rotation.activate(authority, NOW)


def test_a_revoked_standby(authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its key is destroyed where it is; where that is not there, it is said that the key is left."""
    assert authority.standby is not None
    rotation.revoke(authority, authority.standby, NOW)
    assert files(tmp_path / "safe") == []
    made = rotation.prepare(authority, tmp_path / "root", NOW)
    (tmp_path / "safe").rename(tmp_path / "away")
    rotation.revoke(authority, made, NOW)
    assert "destroy it by hand" in caplog.text


@pytest.mark.parametrize("inside", ["ca", "ca/keys", "ca/standby", "."])
def test_a_place_that_is_not_apart(tmp_path: Path, inside: str) -> None:
    """A directory within the authority's, or around it, is not apart; nothing is made."""
    with pytest.raises(ProfileRefused, match="not apart"):
        Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "root", NOW, places=Places(standby=tmp_path / inside))
    assert list(tmp_path.iterdir()) == []


def test_an_authority_that_cannot_be_made_leaves_no_key(tmp_path: Path) -> None:
    """When the directory cannot be written at last, the standby's key is taken away again."""
    (tmp_path / "file").write_text("")
    places = Places(standby=tmp_path / "safe")
    with pytest.raises(AuthorityError, match="cannot be written"):
        Authority.create(tmp_path / "file" / "ca", DOMAIN, tmp_path / "root", NOW, places=places)
    assert files(tmp_path) == []


def test_a_standby_place_from_now_on(tmp_path: Path) -> None:
    """An authority that had its standby beside the active key gets another place when the next one is prepared."""
    authority = Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "root", NOW)
    rotation.activate(authority, NOW)
    places = Places(standby=tmp_path / "safe")
    assert files(tmp_path / "safe") == []
    first = rotation.prepare(authority, tmp_path / "root", NOW, places)
    assert files(tmp_path / "safe") == [first.key_id]
    rotation.activate(authority, NOW)
    second = rotation.prepare(Authority.open(tmp_path / "ca"), tmp_path / "root", NOW)
    assert files(tmp_path / "safe") == [second.key_id]


Held = dict[tuple[str, str], ec.EllipticCurvePrivateKey]


@pytest.fixture
def hsm(monkeypatch: pytest.MonkeyPatch) -> Held:
    """Play every token by a dictionary of keys by label and name."""
    held: Held = {}

    def make(token: Token, name: str = "smsgw root") -> TokenKey:
        held[token.label, name] = new_key()
        return load(token, name)

    def load(token: Token, name: str = "smsgw root") -> TokenKey:
        if (token.label, name) not in held:
            raise AuthorityError(f"{token} holds no {name}")
        return TokenKey(token, name, held[token.label, name].public_key())

    def sign(token: Token, name: str, digest: bytes) -> bytes:
        return held[token.label, name].sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))

    monkeypatch.setattr(Token, "new_key", make)
    monkeypatch.setattr(Token, "load", load)
    monkeypatch.setattr(Token, "sign", sign)
    monkeypatch.setattr(Token, "destroy", lambda token, name: held.pop((token.label, name), None))
    return held


def token(label: str) -> Token:
    """Return a token."""
    return Token(module=Path("/lib/hsm.so"), label=label, pin_file=Path("/etc/pin"))


TWO = Places(keys=token("one"), standby=token("two"))


def test_tokens_take_turns(hsm: Held, tmp_path: Path) -> None:
    """With two tokens no key is a file, active and standby are never in one token, and a revoked key is destroyed."""
    authority = Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "root", NOW, places=TWO)
    authority.keep_jwt_keys(NOW)
    assert files(tmp_path / "ca") == []
    assert sorted(label for label, _ in hsm) == ["one", "one", "two"]
    token_text, _ = authority.sign_jwt(REQUEST.spiffe_id, ["a"], NOW)
    assert token_text.count(".") == 2
    first = authority.active
    for expected in ("one", "two", "one"):
        assert issue(authority).authority_key_id == authority.active.key_id
        rotation.activate(authority, NOW)
        made = rotation.prepare(Authority.open(tmp_path / "ca"), tmp_path / "root", NOW)
        assert authority.keys.where(made.key_id) == f"PKCS#11 token {expected}"
        authority.refresh()
        assert authority.keys.where(authority.active.key_id) != authority.keys.where(made.key_id)
    before = len(hsm)
    rotation.revoke(authority, authority.find(first.key_id), NOW)
    assert len(hsm) == before - 1
    assert authority.keys.holds(standby_of(authority))
    assert not authority.keys.holds(first.key_id)


def test_how_a_token_is_reached_is_the_operators(hsm: Held, tmp_path: Path) -> None:
    """The paths of library and PIN are in authority.json; without them the authority says what is missing."""
    Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "root", NOW, places=TWO).close()
    path = tmp_path / "ca" / "authority.json"
    manifest = json.loads(path.read_text())
    assert manifest["tokens"]["one"] == {"module": "/lib/hsm.so", "pin_file": "/etc/pin"}
    for broken, why in (({}, "does not say how"), ({"one": {}}, "needs `module`"), ([], "needs `module`")):
        path.write_text(json.dumps({**manifest, "tokens": broken}))
        with pytest.raises(AuthorityError, match=why):
            Authority.open(tmp_path / "ca")
    path.write_text(json.dumps(manifest))
    Authority.open(tmp_path / "ca").close()


def test_a_token_that_loses_its_key(hsm: Held, tmp_path: Path) -> None:
    """A key that is not in its token any more stops the opening, and `damaged` lets another one take over."""
    authority = Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "root", NOW, places=TWO)
    standby = standby_of(authority)
    hsm.pop(next(key for key in hsm if key[0] == "one"))
    with pytest.raises(AuthorityError, match="holds no"):
        Authority.open(tmp_path / "ca")
    rotation.activate(Authority.open(tmp_path / "ca", damaged=True), NOW)
    assert issue(Authority.open(tmp_path / "ca")).authority_key_id == standby


def test_keys_made_in_vain_are_destroyed(hsm: Held, tmp_path: Path) -> None:
    """When an authority or a standby cannot be made, no key of it stays in a token."""
    (tmp_path / "file").write_text("")
    with pytest.raises(AuthorityError, match="cannot be written"):
        Authority.create(tmp_path / "file" / "ca", DOMAIN, token("root"), NOW, places=TWO)
    assert hsm == {}
    authority = Authority.create(tmp_path / "ca", DOMAIN, token("root"), NOW, places=TWO)
    rotation.activate(authority, NOW)
    before = dict(hsm)
    with pytest.raises(ProfileRefused, match="the root of"):
        rotation.prepare(authority, token("root"), NOW + dt.timedelta(days=3650))
    assert hsm == before


def test_the_roots_token_is_its_own(hsm: Held, tmp_path: Path) -> None:
    """A token whose PIN is at hand all day does not hold the root's key, neither at first nor later."""
    for label in ("one", "two"):
        with pytest.raises(ProfileRefused, match="root's key alone"):
            Authority.create(tmp_path / "ca", DOMAIN, token(label), NOW, places=TWO)
    assert hsm == {}
    authority = Authority.create(tmp_path / "ca", DOMAIN, token("root"), NOW)
    rotation.activate(authority, NOW)
    with pytest.raises(ProfileRefused, match="root's key alone"):
        rotation.prepare(authority, token("root"), NOW, Places(standby=token("root")))


def test_places_that_do_not_go_together(tmp_path: Path) -> None:
    """A key cannot move from a directory into a token, and one token is not two places."""
    for standby, why in ((tmp_path / "safe", "cannot move"), (token("one"), "name another one")):
        with pytest.raises(ProfileRefused, match=why):
            Places(keys=token("one"), standby=standby)


def test_a_state_of_before(tmp_path: Path) -> None:
    """An authority without homes on record has its keys in its directory, standby included."""
    authority = Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "root", NOW)
    assert set(files(tmp_path / "ca")) == {authority.active.key_id, standby_of(authority)}
    assert authority.keys.where(authority.active.key_id) == str(tmp_path / "ca")
    assert authority.find(authority.active.key_id).state is State.ACTIVE
