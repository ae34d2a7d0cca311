"""`smsgw check` and `smsgw serve` with an identity from a Workload API."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.check import check
from gateway.cli.children import smsgw_command
from tests.certificates import TestAuthority
from tests.certs.workload.spire import Spire, der, identity, response, serving
from tests.gateway.site import NAME, TIMEOUT_S, write

A = TestAuthority("example.org")
B = TestAuthority("other.org", now=A.now)


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
        assert line["source"] == f"Workload API: {endpoint}"
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
