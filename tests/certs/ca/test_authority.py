"""The authority as a whole: on disk, and judged by OpenSSL."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from pathlib import Path

import pytest

from certs.bundle import TrustBundles
from certs.ca import rotation, store
from certs.ca.authority import Authority, new_key
from certs.ca.ledger import key_id_of
from certs.ca.profile import LeafRequest
from certs.ca.states import Kind, State
from certs.errors import AuthorityError, AuthorityMissing, ProfileRefused, SecretPermissionsError, SvidFileError
from certs.spiffe_id import SpiffeId, TrustDomain
from certs.svid import X509Svid, write_file
from certs.verify import verify_peer
from tests.certificates import TestAuthority, cert_pem, key_pem, utc_now

NOW = utc_now()
DOMAIN = TrustDomain("example.org")
CLIENT = LeafRequest(spiffe_id=SpiffeId.parse("spiffe://example.org/billing"))
SERVER = LeafRequest(spiffe_id=SpiffeId.parse("spiffe://example.org/gateway"), dns_names=("gateway.example.org",))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Make an authority in tmp_path/ca."""
    return Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "ca", NOW)


def verified(svid: X509Svid, authority: Authority, now: dt.datetime = NOW) -> str:
    """Verify an SVID as a peer does; its SPIFFE ID."""
    bundles = TrustBundles([authority.bundle])
    return str(verify_peer(svid.leaf_pem(), svid.intermediates_pem(), bundles, now).spiffe_id)


@pytest.mark.parametrize("request_", [CLIENT, SERVER], ids=["client", "server"])
def test_peers_accept_what_is_issued(authority: Authority, request_: LeafRequest) -> None:
    """What the authority issues is verified by the gateway's own reader."""
    svid = authority.issue(request_, NOW)
    assert verified(svid, authority) == str(request_.spiffe_id)
    assert svid.facts.dns_names == request_.dns_names
    assert svid.expires_at == NOW + dt.timedelta(hours=1)


def test_serial_numbers_and_keys_are_new(authority: Authority) -> None:
    """Two certificates for one identity share neither serial number nor key."""
    one, two = authority.issue(CLIENT, NOW), authority.issue(CLIENT, NOW)
    assert one.serial != two.serial
    assert one.key.public_key() != two.key.public_key()


def test_a_key_that_the_workload_keeps(authority: Authority) -> None:
    """A leaf can be signed for a public key: the private one never comes here."""
    key = new_key()
    assert X509Svid(chain=authority.sign_leaf(CLIENT, key.public_key(), NOW), key=key).spiffe_id == CLIENT.spiffe_id


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_openssl_accepts_our_chains(authority: Authority, tmp_path: Path, purpose: str) -> None:
    """OpenSSL, in its strict mode, accepts a chain for both purposes, and refuses it at another root."""
    authority.issue(SERVER, NOW).write(tmp_path / "gw.pem", tmp_path / "gw.key")
    (tmp_path / "root.pem").write_bytes(authority.bundle.to_pem())
    (tmp_path / "other.pem").write_bytes(TestAuthority(now=NOW).bundle_pem)

    def verify(root: str) -> subprocess.CompletedProcess[str]:
        leaf = str(tmp_path / "gw.pem")
        strict = ["-x509_strict", "-policy_check", "-purpose", purpose, "-verify_hostname", "gateway.example.org"]
        command = ["openssl", "verify", *strict, "-CAfile", str(tmp_path / root), "-untrusted", leaf, leaf]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert verify("root.pem").returncode == 0
    assert verify("other.pem").returncode != 0


def test_on_disk(authority: Authority, tmp_path: Path) -> None:
    """The authority is found again on disk, with directories and keys for its owner only."""
    again = Authority.open(tmp_path / "ca")
    assert (again.trust_domain, again.bundle, again.intermediate) == (
        authority.trust_domain,
        authority.bundle,
        authority.intermediate,
    )
    keys = list((tmp_path / "ca").rglob("*.key"))
    assert {path.stat().st_mode & 0o777 for path in [*keys, tmp_path / "ca" / "ca.db"]} == {0o600}
    assert len(keys) == 3  # the root's, the active intermediate's, the standby's
    assert (tmp_path / "ca" / "keys").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "ca").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in tmp_path.iterdir()] == ["ca"]  # nothing is left of the staging


@pytest.mark.parametrize("root", ["apart", "ca/root", "ca"])
def test_root_elsewhere(tmp_path: Path, root: str) -> None:
    """The root's key may live in another directory, which issuing does not need."""
    Authority.create(tmp_path / "ca", DOMAIN, tmp_path / root, NOW)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("root.key")] == [f"{root}/root.key"]
    assert (tmp_path / root).stat().st_mode & 0o777 == 0o700
    (tmp_path / root / "root.key").unlink()
    opened = Authority.open(tmp_path / "ca")
    assert verified(opened.issue(CLIENT, NOW), opened)
    with pytest.raises(AuthorityMissing, match="root-dir"):
        rotation.prepare(with_room(opened), tmp_path / root, NOW)


def with_room(authority: Authority) -> Authority:
    """Activate the standby, so that another can be prepared."""
    rotation.activate(authority, NOW)
    return authority


def test_a_second_authority_in_one_directory(authority: Authority, tmp_path: Path) -> None:
    """An authority is never replaced by `create`, nor is a root key, nor are other files swept away."""
    ca = tmp_path / "ca"
    with pytest.raises(AuthorityError, match="holds an authority already"):
        Authority.create(ca, DOMAIN, ca, NOW)
    with pytest.raises(AuthorityError, match="root key already"):
        Authority.create(tmp_path / "new", DOMAIN, ca, NOW)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(AuthorityError, match="not an empty directory"):
        Authority.create(tmp_path / "full", DOMAIN, tmp_path / "full", NOW)
    assert Authority.open(ca).bundle == authority.bundle


def test_empty_directory_is_taken(tmp_path: Path) -> None:
    """An empty directory that exists already becomes the authority's, for its owner only."""
    (tmp_path / "ca").mkdir(mode=0o755)
    Authority.create(tmp_path / "ca", DOMAIN, tmp_path / "ca", NOW)
    assert (tmp_path / "ca").stat().st_mode & 0o777 == 0o700


def test_failed_creation_leaves_nothing(tmp_path: Path) -> None:
    """When the authority cannot be written, no root key stays behind."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(AuthorityError, match="cannot be written"):
        Authority.create(tmp_path / "file" / "ca", DOMAIN, tmp_path / "root", NOW)
    assert not list(tmp_path.rglob("*.key"))


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("authority.json", b"{}", AuthorityError),
        ("authority.json", b"no json", AuthorityError),
        ("authority.json", b'{"format": 3, "trust_domain": "example.org"}', AuthorityError),
        ("authority.json", b'{"format": 1, "trust_domain": "EXAMPLE.org"}', AuthorityError),
        ("authority.json", b"[]", AuthorityError),
        ("authority.json", None, AuthorityMissing),
        ("keys/ACTIVE.key", None, SvidFileError),
        ("keys/ACTIVE.key", b"junk", AuthorityError),
        ("keys/ACTIVE.key", key_pem(new_key()), AuthorityError),
    ],
)
def test_damaged_authority(
    authority: Authority, tmp_path: Path, name: str, content: bytes | None, error: type[Exception]
) -> None:
    """A damaged or incomplete authority does not issue: it says what is wrong."""
    path = tmp_path / "ca" / name.replace("ACTIVE", authority.active.key_id)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(error):
        Authority.open(tmp_path / "ca")


def test_open_to_others(authority: Authority, tmp_path: Path) -> None:
    """An authority that others may look into is not used."""
    key = tmp_path / "ca" / "keys" / f"{authority.active.key_id}.key"
    key.chmod(0o640)
    with pytest.raises(SecretPermissionsError):
        Authority.open(tmp_path / "ca")
    key.chmod(0o600)
    (tmp_path / "ca").chmod(0o750)
    with pytest.raises(SecretPermissionsError, match="chmod 700"):
        Authority.open(tmp_path / "ca")


def test_bundle_file_is_kept(authority: Authority, tmp_path: Path) -> None:
    """The bundle's file is what readers trust: it is written again when it is missing or damaged."""
    path = tmp_path / "ca" / "root.pem"
    for content in (None, b"junk"):
        path.unlink() if content is None else path.write_bytes(content)
        assert Authority.open(tmp_path / "ca").bundle == authority.bundle
        assert path.read_bytes() == authority.bundle.to_pem()


def test_rotation_mends_a_damaged_intermediate(authority: Authority, tmp_path: Path) -> None:
    """An authority whose active key is lost is opened as damaged, issues nothing, and goes on with its standby."""
    (tmp_path / "ca" / "keys" / f"{authority.active.key_id}.key").unlink()
    damaged = Authority.open(tmp_path / "ca", damaged=True)
    with pytest.raises(AuthorityError, match="no key"):
        damaged.issue(CLIENT, NOW)
    rotation.activate(damaged, NOW)
    opened = Authority.open(tmp_path / "ca")
    assert verified(opened.issue(CLIENT, NOW), opened)


def test_intermediate_that_ended(authority: Authority) -> None:
    """An authority whose intermediate has ended says how to go on, and its standby does."""
    later = NOW + dt.timedelta(days=366)
    with pytest.raises(ProfileRefused, match="smsgw ca rotate"):
        authority.issue(CLIENT, later)
    rotation.activate(authority, later)
    assert verified(authority.issue(CLIENT, later), authority, later)


def test_foreign_intermediate_never_issues(authority: Authority, tmp_path: Path) -> None:
    """An intermediate of somebody else's with its key in place makes nothing that our bundle trusts."""
    foreign = TestAuthority(now=NOW)
    with authority.ledger.changing():
        authority.ledger.set_state(authority.active, State.RETIRED, NOW)
        authority.ledger.add_authority(Kind.INTERMEDIATE, State.ACTIVE, foreign.intermediate, NOW)
    store.save_key(tmp_path / "ca", key_id_of(foreign.intermediate), foreign.intermediate_key)
    with pytest.raises(AuthorityError, match="no root here signed"):
        Authority.open(tmp_path / "ca")


def test_first_format_is_taken_over(authority: Authority, tmp_path: Path) -> None:
    """A directory that an earlier version made (one intermediate, no record) opens, issues and rotates."""
    old = tmp_path / "old"
    (old / "").mkdir(mode=0o700)
    (old / "authority.json").write_text('{"format": 1, "trust_domain": "example.org"}')
    (old / "root.pem").write_bytes(authority.bundle.to_pem())
    (old / "intermediate.pem").write_bytes(cert_pem(authority.intermediate))
    for name, key in (("intermediate", store.load_key(tmp_path / "ca", authority.active.key_id)),
                      ("root", store.load_root_key(tmp_path / "ca"))):  # fmt: skip
        write_file(old / f"{name}.key", key_pem(key), mode=0o600)
    opened = Authority.open(old)
    assert (opened.bundle, opened.intermediate) == (authority.bundle, authority.intermediate)
    assert opened.standby is None
    assert not list(old.glob("intermediate.*"))
    rotation.prepare(opened, old, NOW)
    again = Authority.open(old)
    rotation.activate(again, NOW)
    assert verified(again.issue(CLIENT, NOW), again)
