"""Nodes on one PostgreSQL go from one version to the next and back, one after the other, under traffic.

By default from this version to that of `tests.gateway.next_version`; SMSGW_OLDER_TREE names a checkout of an older
version, which then is the one before, and this one the next.

The judges stand outside: the loads' own logs say what was acknowledged, the carrier's own log says what arrived, and
the shipped client says which calls failed and which events came.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
from google.protobuf import unknown_fields

from gateway.sealing import keyring_schema
from smsgw.v1 import message_service_pb2, message_service_pb2_grpc
from tests.appliance import SERVER_NAME, Appliance, CarrierSpec, Running
from tests.gateway.kill_load import message
from tests.gateway.next_version import FIELD, INSTALLED, VERSION, Tree, next_version
from tests.gateway.test_kill import simulator
from tests.gateway.three_nodes import WAIT_S, Member, Site, nodes, raw_callers
from tests.postgres.server import PostgresServer, expendable

_RATE = 120.0  # of each load
_BINDS = 2
_FINAL = "DELIVERED"
_LINGER = "2s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From which version to which; what a node of each says with a reply, where that is known."""

    before: Tree
    after: Tree

    @classmethod
    def chosen(cls, folder: Path) -> Step:
        """Return the step that is asked for."""
        older = os.environ.get("SMSGW_OLDER_TREE")
        if older:
            return cls(before=Tree(folder=Path(older)), after=INSTALLED)
        return cls(before=INSTALLED, after=next_version(folder))

    def told_apart(self, tree: Tree) -> bool:
        """Say whether replies have a field more from nodes of this tree than this version knows."""
        return tree is self.after and self.after is not INSTALLED


class Watches:
    """Followers of all events, at two nodes, by the clients of both versions."""

    def __init__(self, site: Site, folder: Path, step: Step) -> None:
        self._files = [folder / f"events-{number}.log" for number in range(2)]
        self._site = site
        trees = (step.before, step.after)
        self._running = [
            member.watch(file, tree=tree) for member, file, tree in zip(site.members, self._files, trees, strict=False)
        ]

    def end(self) -> None:
        """End them."""
        for each in self._running:
            each.end()

    def judge(self, tokens: Sequence[str]) -> None:
        """Each message has been told of as accepted and as delivered, once, by each of them."""
        wanted = {f"{token} {state}" for token in tokens for state in ("ACCEPTED", _FINAL)}
        for running, file in zip(self._running, self._files, strict=True):
            until = time.monotonic() + WAIT_S
            while missing := wanted - (told := Counter(file.read_text().splitlines())).keys():
                assert running.process.poll() is None, running.log.read_text()[-2000:]
                assert time.monotonic() < until, f"{len(missing)} events did not come: {sorted(missing)[:5]}"
                time.sleep(0.2)
            twice = [line for line in wanted if told[line] > 1]
            assert not twice, f"{len(twice)} events came twice: {twice[:5]}"
            lost = running.log.read_text().count("events_lost")
            print(f"{running.log.stem}: {sum(told.values())} events, none missing, none twice; {lost} times lost")
            assert lost >= 2, "its node has not been away"  # once on the way forward, once on the way back


def _end_without_failures(load: Running) -> None:
    assert load.end() == 0, load.log.read_text()[-2000:]
    print(load.log.stem, load.line())


class Formats(NamedTuple):
    """How many migrations the database of messages has had, and of which format that of keys is."""

    messages: int
    keys: int


def _formats(server: PostgresServer, database: str, keys: str) -> Formats:
    found = []
    for name, table in ((database, "smsgw.migration"), (keys, f"{keyring_schema.SCHEMA}.format")):
        with server.connect(name) as db:
            row = db.execute(f"SELECT max(version) FROM {table}").fetchone()  # noqa: S608  # a name from above
        assert row is not None
        found.append(int(str(row[0])))
    return Formats(*found)


@contextlib.contextmanager
def _site(folder: Path, step: Step) -> Iterator[tuple[Site, Callable[[], Formats]]]:
    """Run three nodes of the version before, with loads and followers by clients of both; and judge. With them, what
    tells of which versions the databases are."""
    server = expendable()
    with server.database() as database, server.database() as keys:
        appliance = Appliance.create(folder / "appliance")
        with simulator(appliance) as (carrier, smpp_port):
            spec = CarrierSpec(port=smpp_port, ca_file=appliance.carrier_ca, window=100, rate=2000.0, binds=_BINDS)
            with nodes(appliance, server, (database, keys), carrier, spec, tree=step.before, linger=_LINGER) as site:
                watches = Watches(site, folder, step)
                with contextlib.ExitStack() as loads:
                    loads.callback(watches.end)
                    clients = (step.after, step.before, step.before)
                    running = [
                        loads.enter_context(member.load(_RATE, careful=True, tree=tree))
                        for member, tree in zip(site.members, clients, strict=True)
                    ]
                    raw = loads.enter_context(raw_callers(site, folder / "raw.log"))
                    site.wait_for(100)
                    yield site, functools.partial(_formats, server, database, keys)
                    for load in running:
                        _end_without_failures(load)
                    _end_without_failures(raw)
                    site.once = True
                    site.judge(site.drained(), (folder / "raw.log").read_text().split())
                    watches.judge(
                        [token for member in site.members for token in member.acknowledged.read_text().split()]
                    )


def _says_more(pki: Path, member: Member, token: str) -> bool:
    """Send a message as this version does; whether the reply has a field that this version does not know."""
    files = [(pki / name).read_bytes() for name in ("bundle.pem", "caller-0.key", "caller-0.pem")]
    options = [("grpc.ssl_target_name_override", SERVER_NAME)]
    with grpc.secure_channel(f"127.0.0.1:{member.port}", grpc.ssl_channel_credentials(*files), options) as channel:
        stub = message_service_pb2_grpc.MessageServiceStub(channel)
        request = message_service_pb2.SendMessagesRequest(messages=[message(token)])
        reply = stub.SendMessages(request, timeout=WAIT_S)
    assert reply.results[0].WhichOneof("result") == "accepted"
    more = unknown_fields.UnknownFieldSet(reply)
    return [more[number].field_number for number in range(len(more))] == [FIELD]


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_to_the_next_version_and_back(tmp_path: Path) -> None:
    """Three nodes of one version become nodes of the next one, one after the other, which brings the schema forward,
    and go back to the version before on that schema: all that was acknowledged arrives, and nothing of it twice; every
    event comes once. Clients of both versions, at nodes of both, notice a pause at most: a refusal says when to come
    back, and what got none has lost its connection; bare gRPC callers meet nothing but refusals with RetryInfo, and
    nodes that are not there. The carrier never sees more binds than the account has."""
    step, pki = Step.chosen(tmp_path / "next"), tmp_path / "appliance" / "pki"
    tokens = (f"T9{number:08d}" for number in range(100))
    with _site(tmp_path, step) as (site, formats):
        was = formats()
        for tree in (step.after, step.before):
            for member in site.members:
                member.end()
                member.tree = tree
                member.start()
                for each in site.members:  # versions stand beside each other, and all of them take messages
                    site.wait_for(30, each)
                    assert _says_more(pki, each, next(tokens)) == step.told_apart(each.tree)
                    if step.told_apart(each.tree):
                        assert each.version() == VERSION
        if step.told_apart(step.after):
            assert formats() == Formats(was.messages + 1, was.keys + 1)
        print(f"databases: {was}, brought forward to {formats()}")
        assert site.carrier.stats()["most_bound"] == _BINDS
