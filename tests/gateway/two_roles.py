"""An accepting and a relaying node on one PostgreSQL, in processes of their own, with a carrier beside them."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import yaml

from carrier.simulator.simulator import Simulator
from gateway.sealed.key_files import public_file, read_key
from gateway.sealing import keyring_schema
from gateway.sealing.keyring import Selection, WrappedKey, context_of
from gateway.sealing.postgres_keyring import PostgresKeyring
from gateway.sealing.rsa_provider import RsaProvider
from gateway.store.postgres import grants
from smsgw.client import AsyncClient, IdentityFiles
from tests.appliance import SERVER_NAME, SMSGW, TENANT, TRUST_DOMAIN, Appliance, CarrierSpec, Running, run
from tests.gateway.operation import simulators
from tests.gateway.sealed.keys import key_file
from tests.gateway.sealing.test_rsa_provider import halves, rsa_key
from tests.postgres.server import PostgresServer, expendable

PASSWORD = "correct horse"
ROLE = "smsgw_accept"
OTHER_TENANT = "shop"


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

    def client(self, name: str) -> AsyncClient:
        """Return a client of the package that callers use, of the identity `pki/<name>`, to the accepting node."""
        pki = self.folder / "pki"
        identity = IdentityFiles(pki / f"{name}.pem", pki / f"{name}.key", pki / "bundle.pem")
        return AsyncClient(f"127.0.0.1:{self.port}", server_id=f"spiffe://{TRUST_DOMAIN}/gateway", identity=identity)

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

    def sealed_by(self) -> list[list[bytes]]:
        """Return the ids of the keys that sealed envelope and content of the messages, in the order of these."""
        asked = "SELECT substring(envelope FROM 2 FOR 8), substring(content FROM 2 FOR 8) FROM smsgw.body ORDER BY id"
        with self.server.connect(self.database) as db:
            rows = db.execute(asked).fetchall()
        return [[bytes(key_id) for key_id in row] for row in rows]  # type: ignore[call-overload]  # octets

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
    (folder / "payload.pub.jwk").write_bytes(public_file(read_key(key_file())))


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
    appliance = Appliance.create(tmp_path / "relay", callers=2, operator=True)
    folder, accept, server = appliance.folder, tmp_path / "accept", expendable()
    other = ("--spiffe-id", f"spiffe://{TRUST_DOMAIN}/{OTHER_TENANT}/caller", "--out", str(folder / "pki/stranger"))
    run("ca", "issue", "--dir", str(folder / "ca"), *other)
    halves(folder, rsa_key(4096))
    (folder / "payload.jwk").touch(mode=0o600)
    (folder / "payload.jwk").write_bytes(key_file())
    with server.database() as messages, server.database() as keys:
        async with simulators(appliance, ("acme",), "receipts: {delay_s: 0.05}") as carriers:
            spec = CarrierSpec(port=carriers["acme"].port, ca_file=appliance.carrier_ca)
            path = appliance.configure(spec, store=server.section(messages))
            document = yaml.safe_load(path.read_text())
            document.pop("telemetry")
            document["node"] |= {"name": "relay", "role": "relay"}
            document["tenants"].append(
                {"name": OTHER_TENANT, "spiffe_ids": [f"spiffe://{TRUST_DOMAIN}/{OTHER_TENANT}"]}
            )
            document["payload"] = {"key_files": ["./payload.jwk"]}
            document["carriers"][0]["text"] = {"segmentation": "udh16"}
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
                mine["payload"] = {"public_key_files": ["payload.pub.jwk"]}
                mine["messages"] = {"counted_for": [{"name": "acme", "text": {"segmentation": "udh16"}}]}
                mine["audit"].pop("log")
                (accept / "smsgw.yaml").write_text(yaml.safe_dump(mine, sort_keys=False))
                command = [SMSGW, "serve", "--config", str(accept / "smsgw.yaml")]
                with Running(command, log=accept / "node.log") as accepting:
                    told = accepting.line_with(r"api 127\.0\.0\.1:(\d+), admin (\S+),")
                    yield (
                        Site(folder, accept, accepting, relaying, ready, int(told[1]), told[2], server, messages, keys),
                        carriers,
                    )
