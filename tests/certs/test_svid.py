"""SVIDs of our own: files, modes, fitting keys, and replacement in one step."""

from __future__ import annotations

import datetime as dt
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from certs.errors import BadSvid, CertsError, Reason, SecretPermissionsError, SvidFileError
from certs.svid import MAX_KEY_BYTES, X509Svid, publish, read_bounded, write_file
from tests.certificates import IssuedSvid, TestAuthority, key_pem, new_key

A = TestAuthority()


def svid(path: str = "/service") -> X509Svid:
    """Return a new SVID, loaded."""
    issued = A.svid(path)
    return X509Svid.from_pem(issued.presented_pem, issued.key_pem)


def mode(path: Path) -> int:
    """Return a file's permission bits."""
    return path.stat().st_mode & 0o777


def test_load(tmp_path: Path) -> None:
    """An SVID is read from its two files, and knows itself."""
    issued = A.svid("/billing", serial=0xAB)
    loaded = X509Svid.load(*issued.write(tmp_path, "billing"))
    assert str(loaded.spiffe_id) == "spiffe://example.org/billing"
    assert (loaded.serial, loaded.leaf_pem()) == ("ab", issued.leaf_pem)
    assert loaded.intermediates_pem() == issued.chain_pem
    assert loaded.expires_at == issued.leaf.not_valid_after_utc
    assert loaded.authority_key_id == loaded.facts.authority_key_id
    assert loaded.half_life == issued.leaf.not_valid_before_utc + dt.timedelta(minutes=30, seconds=15)


def test_key_is_not_shown() -> None:
    """The representation of an SVID shows no key."""
    assert "key" not in repr(svid()).replace("authority_key_id", "")


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o644, 0o620, 0o601])
def test_key_that_others_may_reach(tmp_path: Path, bits: int) -> None:
    """A key file with any right for group or others is refused, with the command that mends it."""
    cert, key = A.svid().write(tmp_path, "x")
    key.chmod(bits)
    with pytest.raises(SecretPermissionsError, match="chmod 600") as refused:
        X509Svid.load(cert, key)
    assert refused.value.reason is Reason.SECRET_PERMISSIONS


@pytest.mark.parametrize("bits", [0o600, 0o400])
def test_key_of_its_owner_only(tmp_path: Path, bits: int) -> None:
    """A key file that only its owner may reach is read."""
    cert, key = A.svid().write(tmp_path, "x")
    key.chmod(bits)
    assert X509Svid.load(cert, key).spiffe_id.path == "/service"


def test_key_of_another_certificate(tmp_path: Path) -> None:
    """A key that does not fit is refused, with both files named."""
    cert, _ = A.svid().write(tmp_path, "a")
    _, key = A.svid().write(tmp_path, "b")
    with pytest.raises(SvidFileError, match=r"a\.pem.*b\.key") as refused:
        X509Svid.load(cert, key)
    assert refused.value.reason is Reason.KEY_MISMATCH


def _encrypted() -> bytes:
    return new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


@pytest.mark.parametrize(
    ("chain", "key"),
    [
        (A.svid().presented_pem, b""),
        (A.svid().presented_pem, b"no key"),
        (A.svid().presented_pem, _encrypted()),
        (A.svid().presented_pem, key_pem(ed25519.Ed25519PrivateKey.generate())),
        (b"", key_pem(new_key())),
        (b"no certificate", key_pem(new_key())),
        (A.svid().chain_pem * 10, key_pem(new_key())),
    ],
    ids=["empty key", "no key", "encrypted", "ed25519", "empty chain", "no chain", "long chain"],
)
def test_unreadable(chain: bytes, key: bytes) -> None:
    """Texts that are no chain or no key are refused with an error of this package."""
    with pytest.raises((SvidFileError, BadSvid)):
        X509Svid.from_pem(chain, key)


def test_our_own_leaf_must_obey_the_rules() -> None:
    """A certificate that peers would refuse is refused when it is loaded."""
    issued = A.svid(uris=())
    with pytest.raises(BadSvid) as refused:
        X509Svid.from_pem(issued.presented_pem, issued.key_pem)
    assert refused.value.reason is Reason.NO_URI_SAN


def test_missing_and_oversized_files(tmp_path: Path) -> None:
    """Files that are missing or much too large are named in the error."""
    cert, key = A.svid().write(tmp_path, "x")
    with pytest.raises(SvidFileError, match=r"nothing\.pem"):
        X509Svid.load(tmp_path / "nothing.pem", key)
    with pytest.raises(SvidFileError, match=r"nothing\.key"):
        X509Svid.load(cert, tmp_path / "nothing.key")
    key.write_bytes(b"x" * (MAX_KEY_BYTES + 1))
    with pytest.raises(SvidFileError, match="larger"):
        X509Svid.load(cert, key)


def test_write(tmp_path: Path) -> None:
    """Both files are written with their modes, also over older ones with wrong modes, and nothing is left beside."""
    cert, key = tmp_path / "tls" / "x.pem", tmp_path / "tls" / "x.key"
    svid().write(cert, key)
    key.chmod(0o666)
    mine = svid("/mine")
    mine.write(cert, key)
    assert X509Svid.load(cert, key) == mine
    assert (mode(cert), mode(key), mode(cert.parent)) == (0o644, 0o600, 0o700)
    assert sorted(path.name for path in cert.parent.iterdir()) == ["x.key", "x.pem"]


def test_write_where_nothing_can_be_written(tmp_path: Path) -> None:
    """A target that cannot be replaced is an error, and no temporary file stays."""
    (tmp_path / "x.pem").mkdir()
    with pytest.raises(SvidFileError, match=r"x\.pem"):
        write_file(tmp_path / "x.pem", b"x", mode=0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pem"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SvidFileError, match="cannot be made"):
        svid().write(tmp_path / "file" / "x.pem", tmp_path / "file" / "x.key")


def test_publish(tmp_path: Path) -> None:
    """Published files are read through their links, replace plain files, and leave one edition on disk."""
    cert, key = A.svid("/plain").write(tmp_path, "gw")
    for path in ("/one", "/two", "/three"):
        publish(svid(path), cert, key)
        assert X509Svid.load(cert, key).spiffe_id.path == path
    assert mode(key) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gw.svid", "gw.key", "gw.pem"]
    assert len(list((tmp_path / ".gw.svid").iterdir())) == 2


def test_publish_in_two_directories(tmp_path: Path) -> None:
    """What cannot change in one step is refused."""
    with pytest.raises(SvidFileError, match="one directory"):
        publish(svid(), tmp_path / "a" / "x.pem", tmp_path / "b" / "x.key")


def test_crash_while_publishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever step a publication dies at, a reader finds the old pair or the new one."""
    cert, key = tmp_path / "gw.pem", tmp_path / "gw.key"
    publish(svid("/old"), cert, key)
    replace = Path.replace
    for fatal in range(1, 6):
        count = 0

        def dying(self: Path, target: Path, fatal: int = fatal) -> Path:
            nonlocal count
            count += 1
            if count == fatal:
                raise OSError(5, "Input/output error")
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", dying)
        try:
            publish(svid("/new"), cert, key)
        except SvidFileError:
            assert X509Svid.load(cert, key).spiffe_id.path == "/old"
        else:
            assert X509Svid.load(cert, key).spiffe_id.path == "/new"
            assert fatal > 3  # two files and the exchange: nothing else is renamed once the names are links
            return
        finally:
            monkeypatch.setattr(Path, "replace", replace)
    pytest.fail("no publication succeeded")


def test_readers_never_see_a_mismatch(tmp_path: Path) -> None:
    """Readers that load all the time while another thread publishes never fail."""
    cert, key = tmp_path / "gw.pem", tmp_path / "gw.key"
    editions = [svid(f"/edition{number}") for number in range(8)]
    publish(editions[0], cert, key)
    done = threading.Event()
    failures: list[CertsError] = []
    loads = 0

    def read() -> None:
        nonlocal loads
        while not done.is_set():
            try:
                X509Svid.load(cert, key)
                loads += 1
            except CertsError as refused:
                failures.append(refused)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(60):
            publish(editions[number % 8], cert, key)
    finally:
        done.set()
        reader.join(10)
    assert not failures
    assert loads


def test_a_reader_around_an_exchange_reads_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that gets the old certificate and the new key notices, and gets the new pair."""
    cert, key = tmp_path / "gw.pem", tmp_path / "gw.key"
    publish(svid("/old"), cert, key)
    reads = 0

    def exchanging(path: Path, at_most_bytes: int) -> bytes:
        nonlocal reads
        content = read_bounded(path, at_most_bytes)
        reads += 1
        if reads == 1:
            publish(svid("/new"), cert, key)
        return content

    monkeypatch.setattr("certs.svid.read_bounded", exchanging)
    assert X509Svid.load(cert, key).spiffe_id.path == "/new"
    assert reads == 2


def test_issued_svids_of_tests_are_what_they_claim() -> None:
    """The tests' own certificates load as SVIDs: what they show about refusals is not an accident of their making."""
    issued: IssuedSvid = A.svid()
    assert X509Svid.from_pem(issued.presented_pem, issued.key_pem).chain[1] == A.intermediate
