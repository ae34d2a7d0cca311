"""The throw-away certificate of a simulated carrier, judged by a TLS handshake."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from certs.ca.dev_carrier import LIFETIME, write_dev_carrier
from certs.errors import BadSvid, ProfileRefused, SvidFileError
from certs.svid import X509Svid
from tests.certificates import utc_now


def handshake(directory: Path, name: str) -> None:
    """Do a TLS handshake in memory, as a gateway that expects `name`; raises ssl.SSLError."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(directory / "carrier.pem", directory / "carrier.key")
    client_side = ssl.create_default_context(cafile=str(directory / "carrier-ca.pem"))
    client_side.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_handshake(tmp_path: Path, name: str) -> None:
    """A client that trusts the carrier's authority reaches it by name and by address."""
    write_dev_carrier(tmp_path, ["localhost"], utc_now())
    handshake(tmp_path, name)


def test_other_name(tmp_path: Path) -> None:
    """Under another name it is refused."""
    write_dev_carrier(tmp_path, ["smsc.example"], utc_now())
    handshake(tmp_path, "smsc.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, "localhost")


def test_files(tmp_path: Path) -> None:
    """Three files are written, no key of the authority among them, and the server's key is its owner's only."""
    now = utc_now()
    made = write_dev_carrier(tmp_path / "carrier", ["localhost"], now)
    assert sorted(path.name for path in made.ca_path.parent.iterdir()) == [
        "carrier-ca.pem",
        "carrier.key",
        "carrier.pem",
    ]
    assert made.key_path.stat().st_mode & 0o777 == 0o600
    assert made.expires_at == now + LIFETIME
    authority = x509.load_pem_x509_certificate(made.ca_path.read_bytes())
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_it_is_no_svid(tmp_path: Path) -> None:
    """A carrier's certificate cannot be taken for an identity."""
    made = write_dev_carrier(tmp_path, ["localhost"], utc_now())
    with pytest.raises(BadSvid):
        X509Svid.load(made.cert_path, made.key_path)


@pytest.mark.parametrize(
    ("names", "addresses"), [([], ["127.0.0.1"]), (["UPPER"], []), (["localhost"], ["here"])], ids=str
)
def test_bad_names(tmp_path: Path, names: list[str], addresses: list[str]) -> None:
    """Names and addresses that are none are refused, and nothing is written."""
    with pytest.raises(ProfileRefused):
        write_dev_carrier(tmp_path, names, utc_now(), addresses)
    assert not list(tmp_path.iterdir())


def test_no_directory(tmp_path: Path) -> None:
    """A directory that cannot be made is named."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SvidFileError, match="cannot be made"):
        write_dev_carrier(tmp_path / "file" / "carrier", ["localhost"], utc_now())
