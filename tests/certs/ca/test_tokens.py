"""Join tokens: hashed at rest, short-lived, bound to an ID, and used once under races."""

from __future__ import annotations

import datetime as dt
import threading
from pathlib import Path

import pytest

from certs.ca.ledger import Ledger
from certs.ca.tokens import new_token, redeem
from certs.errors import AuthorityError, ProfileRefused, TokenRefused
from certs.spiffe_id import SpiffeId
from tests.certificates import utc_now

NOW = utc_now()
NODE = SpiffeId.parse("spiffe://example.org/node/web1")
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Make an empty record."""
    return Ledger.create(tmp_path / "ca.db")


def test_once(ledger: Ledger) -> None:
    """A token tells for whom it is, once."""
    token = new_token(ledger, NODE, 600, NOW)
    assert redeem(ledger, token, NOW) == NODE
    with pytest.raises(TokenRefused, match="unknown, used or expired"):
        redeem(ledger, token, NOW)


def test_in_time(ledger: Ledger) -> None:
    """A token is good until its end, and not a second longer."""
    one, two = new_token(ledger, NODE, 60, NOW), new_token(ledger, NODE, 60, NOW)
    assert redeem(ledger, one, NOW + MINUTE) == NODE
    with pytest.raises(TokenRefused):
        redeem(ledger, two, NOW + MINUTE + dt.timedelta(seconds=1))


@pytest.mark.parametrize("token", ["", "smsgw-join-", "x" * 10_000, "\udcff\x00'; DROP TABLE tokens"])
def test_unknown(ledger: Ledger, token: str) -> None:
    """What was never made is refused like what was used."""
    with pytest.raises(TokenRefused, match="unknown, used or expired"):
        redeem(ledger, token, NOW)


@pytest.mark.parametrize("ttl_s", [0, -5, 24 * 3600 + 1])
def test_short_lived(ledger: Ledger, ttl_s: int) -> None:
    """A token lives for a day at most."""
    with pytest.raises(ProfileRefused, match="24h"):
        new_token(ledger, NODE, ttl_s, NOW)


def test_hashed_at_rest(ledger: Ledger, tmp_path: Path) -> None:
    """The files do not hold the token."""
    token = new_token(ledger, NODE, 600, NOW)
    ledger.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert str(NODE).encode() in kept
    assert token.encode() not in kept
    assert token.removeprefix("smsgw-join-").encode() not in kept


def test_one_winner_of_a_race(ledger: Ledger, tmp_path: Path) -> None:
    """Of eight that use one token at the same moment, through connections of their own, one gets through."""
    token, start = new_token(ledger, NODE, 600, NOW), threading.Barrier(8)
    won: list[SpiffeId] = []

    def run() -> None:
        own = Ledger(tmp_path / "ca.db")
        start.wait(30)
        try:
            won.append(redeem(own, token, NOW))
        except TokenRefused:
            pass
        finally:
            own.close()

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert won == [NODE]


def test_bounded(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open tokens are bounded; expired ones make room."""
    monkeypatch.setattr("certs.ca.tokens.MAX_OPEN", 2)
    for _ in range(2):
        new_token(ledger, NODE, 60, NOW)
    with pytest.raises(AuthorityError, match="2 join tokens are open"):
        new_token(ledger, NODE, 60, NOW)
    assert redeem(ledger, new_token(ledger, NODE, 60, NOW + 2 * MINUTE), NOW + 2 * MINUTE) == NODE
