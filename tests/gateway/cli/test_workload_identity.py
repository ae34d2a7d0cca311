"""`smsgw check` and `smsgw serve` with an identity from a Workload API."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from gateway.audit.codec import decode, split
from gateway.audit.records import Decision
from gateway.cli.check import check
from gateway.cli.children import smsgw_command
from gateway.cli.init import init
from gateway.cli.main import main
from gateway.node import Node
from gateway.redaction import redact
from tests.certificates import TestAuthority
from tests.certs.workload.spire import Spire, der, identity, response, serving
from tests.gateway.site import NAME, TIMEOUT_S, node_of, write

A = TestAuthority("example.org")
B = TestAuthority("other.org", now=A.now)
SEND = ("send", "--to", "+4915112345678", "--from", "ACME", "--category", "OTP", "--text", "hello", "--json")


def gateway(*, dns: tuple[str, ...] = (NAME,)) -> bytes:
    """Return a message of the Workload API, with another trust domain federated."""
    issued = A.svid("/gateway", dns=dns)
    return response(identity(A, issued, "/gateway"), federated={"spiffe://other.org": der(B.root)})


async def findings(path: Path, *, ok: bool) -> dict[str, dict[str, str]]:
    """Return what `smsgw check` says, by subject, and hold its exit code to that."""
    result = await asyncio.to_thread(CliRunner().invoke, check, ["--config", str(path), "--json"])
    answer = json.loads(result.stdout)
    assert (answer["ok"], result.exit_code) == (ok, 0 if ok else 2)
    return {finding["subject"]: finding for finding in answer["findings"]}


async def test_check_asks_the_workload_api(tmp_path: Path) -> None:
    """Identity, DNS name, end and bundles are those that a node would get now."""
    async with serving(Spire(gateway()), tmp_path / "api.sock") as endpoint:
        found = await findings(write(tmp_path, endpoint, federated=["other.org"]), ok=True)
    assert found["SVID"]["found"].startswith(f"spiffe://example.org/gateway, {NAME}, ")
    for name in ("example.org", "other.org"):
        assert found[f"bundle of {name}"]["found"] == f"Workload API {endpoint}, 1 root"


@pytest.mark.parametrize(
    ("octets", "more", "subject", "text"),
    [
        (gateway(dns=()), {}, "SVID", "has no DNS name"),
        (gateway(), {"spiffe_id": "spiffe://example.org/other"}, "SVID", "no identity for this process with"),
        (gateway(), {"federated": ["third.org"]}, "bundle of third.org", "nobody of third.org can call"),
    ],
)
async def test_what_check_finds(
    octets: bytes, more: Mapping[str, object], subject: str, text: str, tmp_path: Path
) -> None:
    """What a node could not serve with is a problem, with what to do."""
    async with serving(Spire(octets), tmp_path / "api.sock") as endpoint:
        path = write(tmp_path, endpoint, **{"wait": "1s", **more})
        if "federated" in more:
            path.write_text(path.read_text().replace("spiffe://other.org/demo", "spiffe://third.org/demo"))
        found = await findings(path, ok=False)
    assert text in found[subject]["problem"]
    assert found[subject]["advice"]


async def test_check_without_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that was to say where the Workload API is, and does not, is a problem."""
    monkeypatch.delenv("SPIFFE_ENDPOINT_SOCKET", raising=False)
    found = await findings(write(tmp_path, "environment"), ok=False)
    assert "SPIFFE_ENDPOINT_SOCKET is not set" in found["SVID"]["problem"]


@asynccontextmanager
async def serve(path: Path, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `smsgw serve` until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *smsgw_command("serve", "--config", str(path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def log_line(process: asyncio.subprocess.Process, event: str) -> dict[str, object]:
    """Return the first log line with that name."""
    assert process.stderr is not None
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            line = json.loads(await process.stderr.readline())
            if line.get("event") == event:
                assert isinstance(line, dict)
                return line


async def test_serve_waits_then_serves(tmp_path: Path) -> None:
    """A node that is started before its Workload API says what it waits for, and is ready once it has its SVID."""
    path = write(tmp_path, "environment", wait="10m")
    endpoint = f"unix://{tmp_path}/api.sock"
    async with serve(path, SPIFFE_ENDPOINT_SOCKET=endpoint) as process:
        line = await log_line(process, "waiting_for_identity")
        assert line["source"] == redact(f"Workload API: {endpoint}")  # a folder of tests may have a long number
        async with serving(Spire(gateway()), tmp_path / "api.sock"):
            assert process.stdout is not None
            async with asyncio.timeout(TIMEOUT_S):
                assert (await process.stdout.readline()).startswith(b"smsgw node-1 ready: api 127.0.0.1:")
                process.send_signal(signal.SIGTERM)
                await process.communicate()
        assert process.returncode == 0


async def test_serve_gives_up(tmp_path: Path) -> None:
    """A node that gets no SVID in time ends with an error that says why; one told to stop meanwhile just ends."""
    endpoint = f"unix://{tmp_path}/none.sock"
    async with serve(write(tmp_path, endpoint, wait="1s")) as process:
        async with asyncio.timeout(TIMEOUT_S):
            _, errors = await process.communicate()
        assert process.returncode == 1
        assert f"no SVID from the Workload API at {endpoint}: it cannot be reached".encode() in errors
    async with serve(write(tmp_path, endpoint, wait="10m")) as process:
        await log_line(process, "waiting_for_identity")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(TIMEOUT_S):
            output, _ = await process.communicate()
        assert (process.returncode, output) == (0, b"")


async def smsgw(folder: Path, *arguments: str, endpoint: str, code: int = 0) -> str:
    """Run a command on the node of a folder; what it prints."""
    process = await asyncio.create_subprocess_exec(
        *smsgw_command(*arguments, "--dir", str(folder)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "SPIFFE_ENDPOINT_SOCKET": endpoint},
    )
    async with asyncio.timeout(TIMEOUT_S):
        output, _ = await process.communicate()
    assert process.returncode == code, output.decode()
    return output.decode()


async def test_commands_take_their_identity_there_too(tmp_path: Path) -> None:
    """Callers and operators are who client.yaml says, or --as, of those that the Workload API gives the process."""
    paths = ("/demo/one", "/demo/two", "/admin/ann")
    callers = response(*(identity(A, A.svid(path), path) for path in paths))
    async with (
        serving(Spire(gateway()), tmp_path / "node.sock") as endpoint,
        serving(Spire(callers), tmp_path / "callers.sock") as there,
        node_of(write(tmp_path, endpoint)) as node,
    ):
        lines = {
            "target": node.api_address,
            "server_name": NAME,
            "server_id": "spiffe://example.org/gateway",
            "workload_api": "environment",
            "admin": {"target": node.admin_address, "spiffe_id": "spiffe://example.org/admin/ann"},
        }
        (tmp_path / "client.yaml").write_text(yaml.safe_dump(lines))
        two = ("--as", "spiffe://example.org/demo/two")
        for more in ((), two):
            assert json.loads(await smsgw(tmp_path, *SEND, *more, endpoint=there))["state"] == "ACCEPTED"
        assert await owners(node) == {"spiffe://example.org/demo/one", "spiffe://example.org/demo/two"}
        assert json.loads(await smsgw(tmp_path, "queues", "--json", endpoint=there))


async def test_commands_without_an_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not there is told, and so is a command line that says two things."""
    monkeypatch.setattr("gateway.client._IDENTITY_S", 0.5)
    lines = {"target": "127.0.0.1:1", "server_name": NAME, "workload_api": "environment"}
    (tmp_path / "client.yaml").write_text(yaml.safe_dump(lines))
    one = ("--as", "spiffe://example.org/demo/one")

    async def refused(*arguments: str, code: int) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, main, [*SEND, *arguments, "--dir", str(tmp_path)])
        assert result.exit_code == code, result.output
        return str(json.loads(result.stdout)["error"])

    monkeypatch.delenv("SPIFFE_ENDPOINT_SOCKET", raising=False)
    assert "SPIFFE_ENDPOINT_SOCKET is not set" in await refused(code=4)
    async with serving(Spire(gateway()), tmp_path / "api.sock") as endpoint:
        monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", endpoint)
        text = await refused(*one, code=4)
        assert "no identity for this process with the SPIFFE ID spiffe://example.org/demo/one" in text
    for wrong in (("--svid", "x.pem"), ("--svid", "x.pem", *one), ("--workload-api", "tcp://10.0.0.1:1")):
        assert "BAD_" in await refused(*wrong, code=2)


async def owners(node: Node) -> set[str]:
    """Return who sent what the node has stored, from its audit."""
    commits = await node.store.audit_read(0, 1_000)
    records = [decode(octets) for commit in commits for octets in split(commit.records)]
    return {record.caller for record in records if isinstance(record, Decision) and record.caller}


async def test_what_init_writes_is_used(tmp_path: Path) -> None:
    """What `smsgw init --workload-api` writes is a node, a caller and an operator that have no files."""
    site, ids = tmp_path / "site", ("/gateway", "/demo", "/admin/operator")
    svids = [identity(A, A.svid(path, dns=(NAME,) if path == "/gateway" else ()), path) for path in reversed(ids)]
    async with serving(Spire(response(*svids)), tmp_path / "api.sock") as endpoint:
        result = CliRunner().invoke(init, ["--dir", str(site), "--workload-api", endpoint, "--json"])
        assert result.exit_code == 0, result.output
        assert [command.split()[1] for command in json.loads(result.stdout)["next"]][:3] == ["check", "serve", "send"]
        assert not (site / "svids.yaml").exists()
        config = site / "smsgw.yaml"
        config.write_text(re.sub(r"127\.0\.0\.1:(7443|7444|9464)", "127.0.0.1:0", config.read_text()))
        await findings(config, ok=True)
        async with node_of(config) as node:
            client = (site / "client.yaml").read_text()
            client = client.replace("127.0.0.1:7443", node.api_address).replace("127.0.0.1:7444", node.admin_address)
            (site / "client.yaml").write_text(client)
            assert json.loads(await smsgw(site, *SEND, endpoint=""))["state"] == "ACCEPTED"
            assert json.loads(await smsgw(site, "queues", "--json", endpoint=""))
            found = json.loads(await smsgw(site, "status", "--json", endpoint=""))["identity"]
            assert (found["spiffe_id"], found["validity"]) == ("spiffe://example.org/gateway", "good")
            assert found["source"] == f"Workload API: {endpoint}"
