"""A node dies with messages in its hands: another one gives them to the carrier, and when. And what becomes of links
while the database is away.

The judge is the carrier's own log, and its own count of the binds that it has at once.
"""

from __future__ import annotations

import contextlib
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest

from smsgw.v1 import message_service_pb2, message_service_pb2_grpc
from tests.appliance import SERVER_NAME, Appliance, CarrierSpec
from tests.gateway.kill_load import message
from tests.gateway.test_kill import simulator
from tests.gateway.three_nodes import WAIT_S, Member, Site, nodes
from tests.postgres.server import PostgresServer, expendable

_LINE_S = 10.0  # within which a dead node's messages are another's
_BUSY_S = 20.0  # by which a machine that is short of time may be late
_BINDS = 2
_MESSAGES = 60
_IN_HAND = (
    "SELECT m.id FROM smsgw.message AS m JOIN smsgw.node AS n ON n.no = m.holder AND n.name = %s"
    " WHERE m.queue = 20 AND m.state <> 2"
)


class Pair(NamedTuple):
    """Two nodes, and what is around them."""

    folder: Path
    server: PostgresServer
    database: str
    site: Site


@contextlib.contextmanager
def _pair(folder: Path, server: PostgresServer) -> Iterator[tuple[Site, str]]:
    """Run two nodes, and a carrier that takes ten messages a second from each; and the name of the database."""
    with server.database() as database, server.database() as keys:
        appliance = Appliance.create(folder / "appliance")
        with simulator(appliance) as (carrier, smpp_port):
            spec = CarrierSpec(port=smpp_port, ca_file=appliance.carrier_ca, window=5, rate=20.0, binds=_BINDS)
            with nodes(appliance, server, (database, keys), carrier, spec, count=2) as site:
                yield site, database


def _send(folder: Path, member: Member) -> dict[bytes, str]:
    """Send a batch to a node; the tokens by the messages' ids."""
    pki, tokens = folder / "appliance" / "pki", [f"T{number:09d}" for number in range(_MESSAGES)]
    files = [(pki / name).read_bytes() for name in ("bundle.pem", "caller-0.key", "caller-0.pem")]
    options = [("grpc.ssl_target_name_override", SERVER_NAME)]
    with grpc.secure_channel(f"127.0.0.1:{member.port}", grpc.ssl_channel_credentials(*files), options) as channel:
        stub = message_service_pb2_grpc.MessageServiceStub(channel)
        request = message_service_pb2.SendMessagesRequest(messages=[message(token) for token in tokens])
        reply = stub.SendMessages(request, timeout=WAIT_S)
    ids = [uuid.UUID(result.accepted.message_id).bytes for result in reply.results]
    return dict(zip(ids, tokens, strict=True))


def _until(site: Site, true: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < until, site.carrier.stats()
        time.sleep(0.05)


def _until_carrier_has(site: Site, binds: int) -> None:
    _until(site, lambda: site.carrier.stats()["bound"] == binds)


def _until_bound(site: Site) -> None:
    """Wait until each node has a bind."""
    _until(site, lambda: all(member.links() == ["bound"] for member in site.members))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Run two nodes, each with a bind."""
    folder, server = tmp_path_factory.mktemp("pair"), expendable()
    with _pair(folder, server) as (site, database):
        _until_bound(site)
        yield Pair(folder, server, database, site)


@pytest.mark.timeout(240)
def test_what_a_dead_node_had_is_sent_by_another(pair: Pair) -> None:
    """A node is killed with messages that it has claimed: the other one gives them to the carrier within ten seconds.
    While nodes start, die, start again and end, the carrier never has more binds than the account."""
    site = pair.site
    first, second = site.members
    tokens = _send(pair.folder, first)
    with pair.server.connect(pair.database) as db:
        first.end(signal.SIGKILL)
        killed = time.monotonic()
        rows = db.execute(_IN_HAND, (first.name,)).fetchall()
    in_hand = {tokens[message_id] for (message_id,) in rows if isinstance(message_id, bytes)}
    assert len(in_hand) > _MESSAGES / 2, "it had sent them"
    moved_s = []
    while left := in_hand - site.carrier.arrived().keys():
        assert time.monotonic() - killed < _LINE_S + _BUSY_S, f"{len(left)} of {len(in_hand)} are still missing"
        if len(left) < len(in_hand):
            moved_s.append(time.monotonic() - killed)
        time.sleep(0.02)
    print(f"\nof {len(in_hand)} messages the first moved after {moved_s[0]:.1f} s, the last after {moved_s[-1]:.1f}")
    first.start()
    _until_bound(site)
    second.end()
    second.start()
    _until_bound(site)
    assert site.carrier.stats()["most_bound"] == _BINDS


@pytest.mark.soak  # a lease and more without the database, twice
@pytest.mark.timeout(240)
@pytest.mark.parametrize("alone", [False, True])
def test_links_end_and_come_back_with_the_database(pair: Pair, alone: bool) -> None:
    """While the database is away for longer than a lease, no node may know whose the binds are: all links end, also
    those of a node that has seen no other. They come back by themselves when the database does."""
    site = pair.site
    first, second = site.members
    if alone:
        second.end()
        _until_carrier_has(site, _BINDS)
        _until(site, lambda: first.links() == ["bound"] * _BINDS)
    pair.server.kill()
    try:
        _until_carrier_has(site, 0)
    finally:
        pair.server.start_again()
    _until_carrier_has(site, _BINDS)
    if alone:
        second.start()
    _until_bound(site)
    assert site.carrier.stats()["most_bound"] == _BINDS
