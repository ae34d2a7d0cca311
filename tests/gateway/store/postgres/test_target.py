"""How a session is opened: TLS is verified whole, passwords come from their file, and the home says nothing."""

from __future__ import annotations

import ssl
from pathlib import Path

import psycopg
import pytest

from gateway.errors import StoreUnavailable
from gateway.store.postgres import PostgresStore, Target, Tls
from gateway.store.postgres.target import Deadlines, open_session
from tests.carrier.certificates import issue, make_ca
from tests.gateway.store.samples import message
from tests.postgres.server import shared
from tests.postgres.tls_front import tls_front

_PASSWORD = "correct horse"


@pytest.fixture
def keyed(target: Target, tmp_path: Path) -> Target:
    """Give a database whose role has a password."""
    with shared().connect("postgres") as db:
        db.execute("DROP ROLE IF EXISTS keyed")
        db.execute(f"CREATE ROLE keyed LOGIN SUPERUSER PASSWORD '{_PASSWORD}'")
    file = tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text(f"{_PASSWORD}\n")
    return Target(host=target.host, database=target.database, user="keyed", password_file=file)


def _open(target: Target) -> str:
    session = open_session(target, Deadlines(), reads=False)
    ((user,),) = session.fetch("SELECT current_user::text")
    session.close()
    return str(user)


def test_a_password_from_its_file(keyed: Target) -> None:
    """The right password lets in; it is read anew at each connection."""
    assert keyed.password_file is not None
    assert _open(keyed) == "keyed"
    keyed.password_file.write_text("wrong")
    with pytest.raises(psycopg.OperationalError):
        _open(keyed)
    with shared().connect("postgres") as db:
        db.execute("ALTER ROLE keyed PASSWORD 'wrong'")
    assert _open(keyed) == "keyed"


async def test_a_wrong_password_says_what_to_do(keyed: Target) -> None:
    """The error names the setting, and not the password."""
    assert keyed.password_file is not None
    keyed.password_file.write_text("hunter2")
    with pytest.raises(StoreUnavailable) as caught:
        await PostgresStore(keyed).open()
    assert "hunter2" not in str(caught.value)
    assert "password authentication failed" in str(caught.value)
    keyed.password_file.unlink()
    with pytest.raises(StoreUnavailable, match="does not exist"):
        await PostgresStore(keyed).open()
    keyed.password_file.touch()
    keyed.password_file.chmod(0o644)
    with pytest.raises(StoreUnavailable, match="can be used by others"):
        await PostgresStore(keyed).open()


def test_a_server_that_asks_for_no_password(target: Target, tmp_path: Path) -> None:
    """Where a password is set, a server that lets in without it is not the one that is meant."""
    file = tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text("x")
    with pytest.raises(psycopg.OperationalError, match="auth"):
        _open(Target(host=target.host, database=target.database, user=target.user, password_file=file))


def test_the_home_says_nothing(keyed: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password in ~/.pgpass or the environment is not used."""
    monkeypatch.setenv("HOME", str(tmp_path))
    pgpass = tmp_path / ".pgpass"
    pgpass.write_text(f"*:*:*:*:{_PASSWORD}\n")
    pgpass.chmod(0o600)
    with pytest.raises(psycopg.OperationalError):
        _open(Target(host=keyed.host, database=keyed.database, user="keyed"))


def _context(folder: Path, name: str, ca: str = "ca") -> ssl.SSLContext:
    pair = issue(folder, "server", ca=make_ca(folder, ca), host=name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate_file, pair.key_file)
    return context


def _over_tls(target: Target, host: str, port: int, ca_file: Path) -> Target:
    return Target(host=host, port=port, database=target.database, user=target.user, tls=Tls(ca_file=ca_file))


async def test_verified_tls(target: Target, tmp_path: Path) -> None:
    """A store works over TLS whose certificate names the host and comes from the CA."""
    context = _context(tmp_path, "db.example")
    async with tls_front("127.0.0.2", context, Path(target.host) / ".s.PGSQL.5432") as port:
        store = PostgresStore(_over_tls(target, "127.0.0.2", port, tmp_path / "ca.pem"))
        await store.open()
        new = message()
        await store.accept([new])
        assert await store.get_message(new.tenant, new.id) is not None
        await store.close()


@pytest.mark.parametrize(("host", "ca"), [("127.0.0.3", "ca"), ("127.0.0.2", "another"), ("127.0.0.2", "none")])
async def test_tls_that_does_not_verify(target: Target, tmp_path: Path, host: str, ca: str) -> None:
    """Another name, another CA, or no TLS at all: not connected."""
    context = _context(tmp_path, "db.example")
    make_ca(tmp_path, "another")
    file = tmp_path / ("another.pem" if ca == "another" else "ca.pem")
    async with tls_front(host, None if ca == "none" else context, Path(target.host) / ".s.PGSQL.5432") as port:
        with pytest.raises(StoreUnavailable, match="there is no connection"):
            await PostgresStore(_over_tls(target, host, port, file)).open()
