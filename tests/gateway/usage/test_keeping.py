"""The keeper of caps: what was used before counts after a restart, and alerts tell of what is nearly used."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import StoreUnavailable
from gateway.store.sqlite import SqliteStore
from gateway.store.usage import DAY, By, Usage, UsageFilter
from gateway.usage.caps import Cap, CapRules, Caps
from gateway.usage.keeping import CapKeeper
from tests.gateway.store.samples import NOW, SECOND, TENANT, key, message, rejected, sending, submitted
from visibility.alerts import Alerts
from visibility.catalogue import NODE

CAP = Cap(tenant=TENANT, messages_per_day=10, spend_per_month=1_000)
RULES = CapRules(caps=[CAP])


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Give an open store."""
    opened = SqliteStore(tmp_path / "store" / "smsgw.db")
    await opened.open()
    yield opened
    await opened.close()


def keeper(store: SqliteStore, rules: CapRules = RULES, *, shared: bool = False) -> CapKeeper:
    """Return a keeper that is told of the store's commits."""
    alerts = Alerts(NODE, lambda: NOW)
    made = CapKeeper(Caps(rules, NOW), store, alerts, lambda: NOW, shared=shared)
    store.observe(made.committed)
    return made


def used(of: CapKeeper) -> list[int]:
    """Return what each meter has used."""
    return [meter.used for meter in of.caps.meters()]


async def test_what_was_used_before(store: SqliteStore) -> None:
    """After a restart the caps stand where the store does: replays, ends and costs included."""
    first = message(idempotency=key("k"), reserved=100)
    news = [first, message(reserved=100), message(reserved=100, accepted_at=NOW - DAY)]
    await store.accept([*news, first._replace(id=message().id)])
    await store.sending([sending(new) for new in news[:2]])
    bill = submitted(first, "a").bill
    assert bill is not None
    await store.settle([submitted(first, "a", bill=bill._replace(price=7)), rejected(news[1])])
    after = keeper(store)
    assert not any(meter.known for meter in after.caps.meters())
    await after.count()
    assert used(after) == [1, 107]
    assert all(meter.known for meter in after.caps.meters())


async def test_commits_correct_the_caps(store: SqliteStore) -> None:
    """What becomes of messages is known without asking, and is what the store says when asked."""
    watched = keeper(store)
    await watched.count()
    news = [message(reserved=100) for _ in range(3)]
    with watched.caps.charge(TENANT, NOW):
        await store.accept(news)
    for meter in watched.caps.meters():
        meter.add(300 if meter.spends else 3)
    await store.sending([sending(new) for new in news[:2]])
    bill = submitted(news[0], "a").bill
    assert bill is not None
    await store.settle([submitted(news[0], "a", bill=bill._replace(price=7)), rejected(news[1])])
    await store.cancel(TENANT, news[2].id, NOW + SECOND)
    assert used(watched) == [1, 7]
    again = keeper(store)
    await again.count()
    assert used(again) == used(watched)


async def test_two_nodes(store: SqliteStore) -> None:
    """What another node has stored counts as soon as this one looks."""
    one = keeper(store, shared=True)
    await one.count()
    await store.accept([message() for _ in range(4)])
    assert used(one) == [0, 0]
    await one.count()
    assert used(one) == [4, 0]


async def test_a_new_cap_is_counted(store: SqliteStore) -> None:
    """A cap that a reload brings begins with what was used before it."""
    await store.accept([message(), message(country="FR")])
    watched = keeper(store, CapRules())
    await watched.use(CapRules(caps=[Cap(tenant=TENANT, country="FR", messages_per_day=5)]))
    assert used(watched) == [1]


async def test_a_store_that_does_not_answer() -> None:
    """Caps stay unknown, and so refuse, until it does."""

    class Away:
        """A store that is down."""

        async def usage(self, where: UsageFilter, by: By) -> list[Usage]:
            """Fail."""
            raise StoreUnavailable("away")

    watched = CapKeeper(Caps(RULES, NOW), Away(), Alerts(NODE, lambda: NOW), lambda: NOW, shared=True)
    await watched.count()
    assert not any(meter.known for meter in watched.caps.meters())


async def test_alerts(store: SqliteStore) -> None:
    """From the part that is set on a cap nears, and at its end it is reached; a higher limit resolves both."""
    watched = keeper(store)
    alerts = watched._alerts
    await watched.count()
    seen = []
    for number in (7, 1, 2):
        for meter in watched.caps.meters():
            meter.add(0 if meter.spends else number)
        watched.look()
        seen.append([(alert.kind.name, alert.values, alert.why) for alert in alerts.active()])
    assert seen == [
        [],
        [("usage_cap_near", (TENANT, "messages_per_day"), "8 of 10 are used")],
        [("usage_cap_reached", (TENANT, "messages_per_day"), "10 of 10 are used")],
    ]
    await watched.use(CapRules(caps=[Cap(tenant=TENANT, messages_per_day=100)]))
    watched.look()
    assert alerts.active() == []
