"""What a node looks at: each condition raises its alert, and is over when it is over."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from certs.bundle import Bundle
from certs.spiffe_id import TrustDomain
from gateway import conditions
from gateway.conditions import MOST_UNMATCHED, PAYLOAD_KEYS_END_S, Conditions, Sources
from gateway.pipeline.pipeline import LinkStatus
from tests.certificates import TestAuthority
from visibility.alerts import Alerts
from visibility.catalogue import NODE
from visibility.core_log import CoreLog

SECOND = 1_000_000
BORN = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)
AUTHORITY = TestAuthority("example.org", now=BORN)


BUNDLE = Bundle.from_pem(TrustDomain("example.org"), AUTHORITY.bundle_pem)


class Usage(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


class Rig:
    """A node's numbers, which the test sets, and the alerts that follow."""

    def __init__(self, folder: Path, core_log: CoreLog | None = None) -> None:
        self.now = round(BORN.timestamp() * SECOND)
        self.bound: dict[str, bool] = {"acme/0": True, "acme/1": True, "beta/0": True}
        self.closed: set[str] = set()
        self.breakers: dict[str, str] = {}
        self.numbers: dict[str, int] = {}
        self.heads: dict[str, int] = {}
        self.bundle = BUNDLE
        self.refused: dict[str, int] = {}
        self.payload_keys_end = 0
        self.alerts = Alerts(NODE, lambda: self.now)
        self.conditions = Conditions(
            Sources(
                links=self.links,
                paused=lambda: self.closed,
                breakers=self,
                counts=lambda: self.numbers,
                oldest=lambda: self.heads,
                bundles=lambda: [self.bundle],
                payload_keys_end=lambda: self.payload_keys_end,
                refused=lambda: self.refused,
                core_log=core_log,
                data_dir=folder,
                now=lambda: self.now,
            ),
            self.alerts,
        )

    def links(self) -> list[LinkStatus]:
        """Return the binds."""
        return [
            LinkStatus(
                name=name, state="bound" if up else "backoff", why="", window=10, unanswered=0, staged=0, slots=0
            )
            for name, up in self.bound.items()
        ]

    def states(self) -> Mapping[str, str]:
        """Return where the breakers stand."""
        return self.breakers

    def openings(self) -> Mapping[str, int]:
        """Return how often they opened."""
        return {}

    def seconds(self, seconds: float) -> list[str]:
        """Look, let so many seconds pass, look again; the active alerts."""
        self.conditions.look()
        self.now += round(seconds * SECOND)
        self.conditions.look()
        return self.active

    @property
    def active(self) -> list[str]:
        """The names of what is active, with labels."""
        return sorted(" ".join((alert.kind.name, *alert.values)) for alert in self.alerts.active())


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Return a node that is well."""
    return Rig(tmp_path)


def test_a_node_that_is_well(rig: Rig) -> None:
    """Nothing is raised."""
    rig.breakers = {"acme": "closed"}
    rig.numbers = {"receipts.unmatched": 3}
    assert rig.seconds(120) == []


def test_a_carrier_that_is_down(rig: Rig) -> None:
    """No bind is up for a minute: not before, and over with the first bind."""
    rig.bound |= {"acme/0": False, "acme/1": False}
    assert rig.seconds(59) == []
    assert rig.seconds(1) == ["carrier_down acme"]
    rig.bound["acme/1"] = True
    assert rig.seconds(0) == []


def test_a_carrier_that_reconnects_at_once(rig: Rig) -> None:
    """A link that was up in between begins anew to be down."""
    for _ in range(5):
        rig.bound["beta/0"] = False
        assert rig.seconds(40) == []
        rig.bound["beta/0"] = True
        assert rig.seconds(1) == []


def test_one_bind_that_is_down(rig: Rig) -> None:
    """The others are up: it waits five minutes, and names the bind."""
    rig.bound["acme/1"] = False
    assert rig.seconds(299) == []
    assert rig.seconds(1) == ["bind_down acme 1"]


def test_a_carrier_that_somebody_has_paused(rig: Rig) -> None:
    """Nobody is woken for what an operator did."""
    rig.closed.add("beta")
    rig.bound["beta/0"] = False
    assert rig.seconds(600) == []


def test_a_carrier_that_leaves_the_configuration(rig: Rig) -> None:
    """Its alert ends."""
    rig.bound["beta/0"] = False
    assert rig.seconds(60) == ["carrier_down beta"]
    del rig.bound["beta/0"]
    assert rig.seconds(0) == []


def test_a_breaker(rig: Rig) -> None:
    """It is an alert until it is closed."""
    for state, active in (("open", ["carrier_failing acme"]), ("half-open", ["carrier_failing acme"]), ("closed", [])):
        rig.breakers["acme"] = state
        assert rig.seconds(0) == active


@pytest.mark.parametrize("where", ["memory", "store"])
def test_messages_that_are_late(rig: Rig, where: str) -> None:
    """OTPs after a minute, transactional ones after ten, promotional ones never; wherever they wait."""
    due_at = rig.now
    for category in ("OTP", "TRANSACTIONAL", "PROMOTIONAL"):
        if where == "memory":
            rig.heads[category] = due_at
        else:
            rig.numbers[f"oldest_due_at.WAITING_{category}"] = due_at
    assert rig.seconds(60) == []
    assert rig.seconds(1) == ["messages_late OTP"]
    assert rig.seconds(540) == ["messages_late OTP", "messages_late TRANSACTIONAL"]
    rig.numbers, rig.heads = {}, {}
    assert rig.seconds(3600) == []


def test_receipts_that_belong_to_nothing(rig: Rig) -> None:
    """Many of them are a ticket."""
    rig.numbers["receipts.unmatched"] = MOST_UNMATCHED - 1
    assert rig.seconds(0) == []
    rig.numbers["receipts.unmatched"] = MOST_UNMATCHED
    assert rig.seconds(0) == ["receipts_unmatched"]


def test_payload_keys_that_end(rig: Rig) -> None:
    """Fourteen days before the last of them ends it is a ticket, and after that too; none at all is fine."""
    assert rig.seconds(0) == []
    rig.payload_keys_end = rig.now + PAYLOAD_KEYS_END_S * SECOND
    assert rig.seconds(0) == []
    assert rig.seconds(1) == ["payload_keys_ending"]
    rig.payload_keys_end -= 30 * 86_400 * SECOND
    assert rig.seconds(0) == ["payload_keys_ending"]
    rig.payload_keys_end += 365 * 86_400 * SECOND
    assert rig.seconds(0) == []


def test_a_bundle_that_ends(rig: Rig) -> None:
    """The last third of its last authority's life, or its last month, is a ticket for its trust domain."""
    end = BUNDLE.authorities[0].not_valid_after_utc
    life_s = (end - BUNDLE.authorities[0].not_valid_before_utc).total_seconds()
    before_s = min(30 * 86_400, life_s / 3)
    rig.now = round((end.timestamp() - before_s) * SECOND)
    assert "bundle_expiring example.org" not in rig.seconds(0)
    assert "bundle_expiring example.org" in rig.seconds(1)
    rig.bundle = Bundle(trust_domain=TrustDomain("example.org"), authorities=())
    assert "bundle_expiring example.org" not in rig.seconds(0)  # nobody is believed: there is nothing that ends


def test_many_calls_that_are_refused(rig: Rig) -> None:
    """Ten of one reason within a minute are a ticket, which ends ten minutes after the last; fewer are none."""
    rig.refused = {"EXPIRED": 400, "REVOKED": 3}  # from before anybody looked
    assert rig.seconds(10) == []
    rig.refused = {"EXPIRED": 409, "REVOKED": 13}
    assert rig.seconds(1) == ["calls_refused REVOKED"]
    assert rig.alerts.active()[0].why == "10 within a minute"
    for _ in range(66):
        rig.seconds(10)
    assert rig.active == []


def test_many_handshakes_that_fail(tmp_path: Path) -> None:
    """What gRPC's core has written is read, counted by reason, and an alert when it is much."""
    descriptor = os.memfd_create("core")
    try:
        rig = Rig(tmp_path, CoreLog(os.dup(descriptor)))
        assert rig.seconds(1) == []
        line = b"I1127 19:00:53 8263 ssl_transport_security.cc:2563] Handshake failed with error SSL_ERROR_SSL: %s\n"
        os.write(descriptor, 9 * (line % b"CERTIFICATE_VERIFY_FAILED: certificate has expired"))
        assert rig.seconds(1) == []
        os.write(descriptor, line % b"CERTIFICATE_VERIFY_FAILED: certificate has expired")
        assert rig.seconds(1) == ["handshakes_refused EXPIRED"]
    finally:
        os.close(descriptor)


async def test_a_disk_that_is_nearly_full(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little room, in octets or as a share, is an alert; so is a disk that cannot be asked."""
    found: list[Usage | OSError] = []

    def ask(folder: Path) -> Usage:
        answer = found.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(shutil, "disk_usage", ask)
    gib = 1 << 30
    for answer, active in (
        (Usage(10 * gib, 9 * gib, gib), []),
        (Usage(100 * gib, 99 * gib, gib), ["disk_nearly_full"]),
        (Usage(100 * gib, 50 * gib, 50 * gib), []),
        (OSError(5, "Input/output error"), ["disk_nearly_full"]),
        (Usage(gib, gib // 2, gib // 2), []),
        (Usage(gib, gib, 255 << 20), ["disk_nearly_full"]),
    ):
        found.append(answer)
        await rig.conditions._look_at_disk()
        assert rig.active == active, answer


async def test_it_looks_again_and_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task looks until it is cancelled."""
    monkeypatch.setattr(conditions, "_LOOK_S", 0.001)
    task = asyncio.create_task(rig.conditions.run())
    rig.breakers["acme"] = "open"
    async with asyncio.timeout(10):
        while rig.active != ["carrier_failing acme"]:
            await asyncio.sleep(0.001)
        rig.breakers.clear()
        while rig.active:
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
