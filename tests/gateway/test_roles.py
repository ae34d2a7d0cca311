"""An accepting and a relaying node on one PostgreSQL: who has all of the first one opens nothing that is old."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml

from carrier.simulator.simulator import Simulator
from gateway.sealing import keyring_schema
from gateway.sealing.keyring import Selection, WrappedKey, context_of
from gateway.sealing.postgres_keyring import PostgresKeyring
from gateway.sealing.rsa_provider import RsaProvider
from gateway.store.postgres import grants
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.appliance import SERVER_NAME, SMSGW, TENANT, Appliance, CarrierSpec, Running
from tests.gateway.api.refusals import refusal
from tests.gateway.attacker import by_files, sealed_fields
from tests.gateway.operation import simulators
from tests.gateway.process_memory import counts
from tests.gateway.sealing.test_rsa_provider import halves, rsa_key
from tests.postgres.server import PostgresServer, expendable

PASSWORD = "correct horse"
TIMEOUT_S = 30.0
ROLE = "smsgw_accept"


@dataclass
class Site:
    """Two nodes, and what a caller and an operator reach."""

    folder: Path  # of the relay, and of the identities
    accept: Path
    accepting: Running
    relaying: Running
    ready: str  # what the relay said
    port: int
    admin: str  # of the accepting node
    server: PostgresServer
    database: str
    keys_database: str

    def channel(self) -> grpc.aio.Channel:
        """Return a caller's channel to the accepting node."""
        pki = self.folder / "pki"
        credentials = grpc.ssl_channel_credentials(
            (pki / "bundle.pem").read_bytes(), (pki / "caller-0.key").read_bytes(), (pki / "caller-0.pem").read_bytes()
        )
        options = [("grpc.ssl_target_name_override", SERVER_NAME)]
        return grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options=options)

    async def command(self, *words: str) -> dict[str, Any]:
        """Run a command of an operator on the accepting node."""
        pki = self.folder / "pki"
        identity = (
            "--svid",
            f"{pki}/operator.pem",
            "--svid-key",
            f"{pki}/operator.key",
            "--bundle",
            f"{pki}/bundle.pem",
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, SMSGW, *words, "--json", "--target", self.admin, "--server-name", SERVER_NAME, *identity,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        found = json.loads(output)
        assert isinstance(found, dict)
        return found

    def sealed_by(self) -> list[bytes]:
        """Return the ids of the keys that sealed the messages, in the order of these."""
        with self.server.connect(self.database) as db:
            rows = db.execute("SELECT substring(envelope FROM 2 FOR 8) FROM smsgw.body ORDER BY id").fetchall()
        return [bytes(row[0]) for row in rows]  # type: ignore[call-overload]  # octets

    def data_keys(self) -> dict[bytes, bytes]:
        """Return the data keys of the accepting node, which only the relay's private half opens."""
        ring = PostgresKeyring(self.server.target(self.keys_database))
        private = RsaProvider(None, [self.folder / "kek.pem"])
        try:
            records = [record for record in ring.records(Selection(tenant=TENANT)) if record.node == "accept"]
            return {
                record.key_id: private.unwrap(record.wrapped, context_of(record))
                for record in records
                if isinstance(record, WrappedKey)
            }
        finally:
            ring.close()


def prepare_accept(folder: Path, relay: Path) -> None:
    """Give the accepting node what it needs, and nothing else."""
    folder.mkdir(mode=0o700)
    (folder / "pki").mkdir()
    for name in ("pki/gateway.pem", "pki/gateway.key", "pki/bundle.pem", "index.key", "deny-list.key", "kek.pub"):
        shutil.copy(relay / name, folder / name)
    shutil.copytree(relay / "policy", folder / "policy")
    (folder / "policy").chmod(0o700)
    (folder / "database.password").touch(mode=0o600)
    (folder / "database.password").write_text(PASSWORD)


def let_in(server: PostgresServer, messages: str, keys: str) -> None:
    """Make the accepting node's role, with the grants that the command prints."""
    with server.connect(messages) as db:
        db.execute(f"DROP ROLE IF EXISTS {ROLE}")
        db.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        for statement in grants.grants("accept", ROLE):
            db.execute(statement)
    with server.connect(keys) as db:
        for statement in keyring_schema.grants("accept", ROLE):
            db.execute(statement)


@asynccontextmanager
async def site(tmp_path: Path) -> AsyncIterator[tuple[Site, dict[str, Simulator]]]:
    """Run both nodes and a carrier."""
    appliance = Appliance.create(tmp_path / "relay", operator=True)
    folder, accept, server = appliance.folder, tmp_path / "accept", expendable()
    halves(folder, rsa_key())
    with server.database() as messages, server.database() as keys:
        async with simulators(appliance, ("acme",), "receipts: {delay_s: 0.05}") as carriers:
            spec = CarrierSpec(port=carriers["acme"].port, ca_file=appliance.carrier_ca)
            path = appliance.configure(spec, store=server.section(messages))
            document = yaml.safe_load(path.read_text())
            document.pop("telemetry")
            document["node"] |= {"name": "relay", "role": "relay"}
            place: Any = server.section(keys)["postgres"]
            wrapped = {"postgres": dict(place)}
            document["keys"] = {"kek": {"rsa": {"private_key_files": ["./kek.pem"]}}, "wrapped": wrapped}
            path.write_text(yaml.safe_dump(document, sort_keys=False))
            with Running([SMSGW, "serve", "--config", str(path)], log=folder / "node.log") as relaying:
                ready = relaying.line_with("ready").string
                prepare_accept(accept, folder)
                let_in(server, messages, keys)
                mine = {**document, "node": {**document["node"], "name": "accept", "role": "accept"}}
                login = {"user": ROLE, "password_file": "./database.password"}
                mine["store"] = {**document["store"], "postgres": {**document["store"]["postgres"], **login}}
                mine["keys"] = {
                    "kek": {"rsa": {"public_key_file": "kek.pub"}},
                    "wrapped": {"postgres": {**wrapped["postgres"], **login}},
                }
                mine |= {"carriers": [], "admin": {"listen": "127.0.0.1:0"}}
                mine["audit"].pop("log")
                (accept / "smsgw.yaml").write_text(yaml.safe_dump(mine, sort_keys=False))
                command = [SMSGW, "serve", "--config", str(accept / "smsgw.yaml")]
                with Running(command, log=accept / "node.log") as accepting:
                    told = accepting.line_with(r"api 127\.0\.0\.1:(\d+), admin (\S+),")
                    yield (
                        Site(folder, accept, accepting, relaying, ready, int(told[1]), told[2], server, messages, keys),
                        carriers,
                    )


async def test_accept_and_relay(tmp_path: Path) -> None:
    """What one node accepts the other delivers; the first shows states and nothing that is sealed; who has all of it
    opens nothing that is older than its current key, and its memory has no older one."""
    async with site(tmp_path) as (running, _):
        assert "api none" in running.ready
        async with running.channel() as channel:
            caller = MessageServiceStub(channel)
            message = message_pb2.OutboundMessage(
                recipient="+4915112345678", sender="ACME", category=message_pb2.CATEGORY_OTP,
                content=message_pb2.Content(text="hello"), labels={"team": "blue"}, client_reference="order 7",
            )  # fmt: skip
            request = api.SendMessageRequest(message=message)
            first = (await caller.SendMessage(request, timeout=TIMEOUT_S)).accepted.message_id
            rotated = await running.command("keys", "rotate", "--reason", "a test")
            assert rotated["newest"].startswith("rsa:")
            second = (await caller.SendMessage(request, timeout=TIMEOUT_S)).accepted.message_id
            await delivered(caller, (first, second))
            shown = (await caller.GetMessage(api.GetMessageRequest(message_id=first), timeout=TIMEOUT_S)).message
            assert (shown.masked_recipient, dict(shown.labels), shown.client_reference) == ("+49XXXXXXX5678", {}, "")
            watch = caller.WatchEvents(api.WatchEventsRequest(), timeout=TIMEOUT_S)
            assert (await refusal(watch.read())).reason == "NOT_OPENED_HERE"
        keys, (old, current) = running.data_keys(), running.sealed_by()
        unused = [key for key in keys if key not in (old, current)]
        assert not re.search(r"(?i)permission denied|keys_not_made", (running.accept / "node.log").read_text())
        await asyncio.to_thread(attack, running, [old, current])
        (tmp_path / "control").mkdir()
        (tmp_path / "control" / "key").write_bytes(b"x" * 7 + keys[old])
        fields = [field for field in sealed_fields(running.server.target(running.database)) if old in field.octets]
        assert by_files(tmp_path / "control", fields) == "OPENED", "the attacker knows what to do with a key"
        wanted = [keys[key] for key in (old, current, *unused)]
        found = await asyncio.to_thread(counts, running.accepting.pid, wanted)
        assert found[1] > 0, "the current key is there: memory can be searched"
        assert found[0] == 0, "the key of before is not in memory any more"
        assert sum(number > 0 for number in found[2:]) <= 1, "nor a spare that was replaced"


async def delivered(caller: Any, ids: tuple[str, ...]) -> None:
    """Wait until all are delivered."""
    async with asyncio.timeout(60):
        for message_id in ids:
            while True:
                answer = await caller.GetMessage(api.GetMessageRequest(message_id=message_id), timeout=TIMEOUT_S)
                if answer.message.state == message_pb2.MESSAGE_STATE_DELIVERED:
                    break
                await asyncio.sleep(0.05)


def attack(running: Site, key_ids: list[bytes]) -> None:
    """Have the attacker try, with the accepting node's files and login."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.gateway.attacker", str(running.accept / "smsgw.yaml")],
        input="\n".join(key_id.hex() for key_id in key_ids), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sealed, *attempts = done.stdout.splitlines()
    assert sealed == "sealed 4"
    assert len(attempts) == 3 * len(key_ids)
    assert "OPENED" not in done.stdout
    assert "42501" in attempts[0]
    assert "only the public half" in attempts[1]
    assert "RSAPrivateKey" not in attempts[2]
