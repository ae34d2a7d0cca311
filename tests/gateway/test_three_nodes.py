"""Nodes on one PostgreSQL are killed, stopped and cut off under load: nothing acknowledged is lost.

The judges stand outside: the loads' own logs say what was acknowledged, the carrier's own log says what arrived.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.appliance import Appliance, CarrierSpec
from tests.gateway.test_kill import simulator
from tests.gateway.three_nodes import Member, Site, nodes
from tests.postgres.server import expendable

AWAY_S = 5.5  # longer than a lease, which is 4 s
_RATE = 120.0  # of each load


@contextlib.contextmanager
def _site(folder: Path, rate: float) -> Iterator[Site]:
    """Run the nodes with a load on each, and judge."""
    server = expendable()
    with server.database() as database, server.database() as keys:
        appliance = Appliance.create(folder / "appliance")
        with simulator(appliance) as (carrier, smpp_port):
            spec = CarrierSpec(port=smpp_port, ca_file=appliance.carrier_ca, window=100, rate=2000.0, binds=2)
            with nodes(appliance, server, (database, keys), carrier, spec) as site:
                with contextlib.ExitStack() as loads:
                    for each in site.members:
                        loads.enter_context(each.load(rate))
                    site.wait_for(100)
                    yield site
                site.judge(site.drained())


def _kill(site: Site, member: Member) -> None:
    """Kill a node, and start it again."""
    del site
    member.end(signal.SIGKILL)
    member.start()


def _stop(site: Site, member: Member) -> None:
    """Stop a node for longer than its lease."""
    del site
    member.send(signal.SIGSTOP)
    time.sleep(AWAY_S)
    member.send(signal.SIGCONT)


def _cut_off(site: Site, member: Member) -> None:
    """Cut the last node off from the database for longer than its lease."""
    del member
    site.line.sever()
    time.sleep(AWAY_S)
    site.line.mend()


def _sleep_until(moment: float) -> None:
    """A lease has to run out: there is nothing to wait for but the time."""
    time.sleep(max(0.0, moment - time.monotonic()))


@pytest.mark.timeout(300)
def test_a_round_of_each(tmp_path: Path) -> None:
    """One node is stopped while another is killed, then the third is cut off: the others go on meanwhile, each comes
    back, and what was acknowledged arrives."""
    with _site(tmp_path, _RATE) as site:
        first, second, third = site.members
        first.send(signal.SIGSTOP)
        stopped = time.monotonic()
        _kill(site, second)
        site.wait_for(50, third)
        site.line.sever()
        severed = time.monotonic()
        site.wait_for(50, second)  # alone: what the first one held of the database has been ended
        _sleep_until(stopped + AWAY_S)
        first.send(signal.SIGCONT)
        site.wait_for(50, first)
        _sleep_until(severed + AWAY_S)
        site.line.mend()
        site.wait_for(50, third)
        assert "node_lease_lost" in first.alerts() & third.alerts()
        assert "node_lost" in second.alerts() | third.alerts()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(8))
def test_chaos(tmp_path: Path, seed: int) -> None:
    """Twenty times something happens to one of them, as the seed says."""
    choose = random.Random(seed)  # noqa: S311 - a test's choice
    with _site(tmp_path, 300.0) as site:
        for _ in range(20):
            happens: Callable[[Site, Member], None] = choose.choice((_kill, _stop, _cut_off))
            happens(site, choose.choice(site.members))
            for member in site.members:
                site.wait_for(20, member)
