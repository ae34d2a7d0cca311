"""`smsgw simulator` as a process, and what it says of wrong options."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from carrier.simulator.cli import simulator
from carrier.simulator.script_file import parse_script
from tests.carrier.simulator.conftest import Tls
from tests.carrier.simulator.esme import Connection, submit

_RUN = "from carrier.simulator.cli import simulator; simulator()"


@asynccontextmanager
async def running(*arguments: str | Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the command; it is ended, by force if need be."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _RUN,
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: asyncio.subprocess.Process) -> str:
    """Return the next line of its output."""
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode()


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Ask it to end; return its exit code and what it said."""
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    async with asyncio.timeout(20):
        said = (await process.stderr.read()).decode()
        return await process.wait(), said


async def test_the_whole_command(tls: Tls, tmp_path: Path) -> None:
    """TLS, a script, a password file, a log, JSON events, the control port, and a clean end with counts."""
    script, password, log = tmp_path / "s.yaml", tmp_path / "password", tmp_path / "arrived.tsv"
    script.write_text("message_ids: hex\npassword: replaced")
    password.write_text("secret\n")
    async with running(
        "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--cert", tls.cert, "--key", tls.key, "--json",
        "--script", script, "--log", log, "--system-id", "smsgw", "--password-file", password,
    ) as process:  # fmt: skip
        ready = json.loads(await line(process))
        assert (ready["event"], ready["kind"], ready["tls"]) == ("ready", "simulator", True)
        connection = await Connection.bound(ready["port"], tls.client())
        message_id = await connection.submitted(submit(b"hi there"))
        assert log.read_text() == f"4915112345678\t{message_id}\t1/1\thi there\n"
        assert json.loads(await line(process))["event"] == "bound"
        accepted = json.loads(await line(process))
        assert (accepted["event"], accepted["message"], accepted["to"]) == ("accepted", "hi there", "4915112345678")
        reader, writer = await asyncio.open_connection("127.0.0.1", ready["control_port"])
        assert json.loads(await reader.readline())["accepted"] == 1
        code, said = await ended(process)
        assert code == 0
        assert json.loads(said)["accepted"] == 1
        writer.close()
        await connection.close()


@pytest.mark.parametrize(("most", "version"), [("1.2", "TLSv1.2"), ("1.3", "TLSv1.3")])
async def test_its_latest_tls_version_can_be_chosen(tls: Tls, most: str, version: str) -> None:
    """An old carrier, and one of today."""
    arguments = ("--listen", "127.0.0.1:0", "--cert", tls.cert, "--key", tls.key, "--tls-max", most, "--json")
    async with running(*arguments) as process:
        port = json.loads(await line(process))["port"]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls.client(), server_hostname="localhost")
        assert writer.get_extra_info("ssl_object").version() == version
        writer.close()
        await writer.wait_closed()


async def test_the_sink_command() -> None:
    """Plain on loopback, text instead of JSON, and counts with times."""
    async with running("--sink", "--plain", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0") as process:
        ready = await line(process)
        assert ready.startswith("sink ready on 127.0.0.1:")
        port = int(ready.split(":")[1].split(" ")[0])
        control_port = int(ready.rstrip().rstrip(")").rpartition(":")[2])
        connection = await Connection.bound(port)
        await connection.submitted(submit())
        await connection.delivery()
        reader, writer = await asyncio.open_connection("127.0.0.1", control_port)
        stats = json.loads(await reader.readline())
        assert stats["submits"] == 1
        assert stats["first_submit_at"] > 0
        writer.close()
        await connection.close()
        code, said = await ended(process)
        assert (code, json.loads(said)["submits"]) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["--plain", "--listen", "nowhere"], 2, "HOST:PORT"),
        (["--plain", "--listen", "127.0.0.1:99999"], 2, "HOST:PORT"),
        ([], 2, "smsgw ca dev-carrier"),
        (["--cert", "a.pem"], 2, "--cert and --key"),
        (["--cert", "/nonexistent/a.pem", "--key", "/nonexistent/a.key"], 1, "PEM chain"),
        (["--plain", "--cert", "a.pem"], 2, "without TLS"),
        (["--plain", "--tls-max", "1.2"], 2, "without TLS"),
        (["--plain", "--listen", "0.0.0.0:0"], 1, "loopback"),
        (["--plain", "--listen", "127.0.0.1:0", "--control", "0.0.0.0:0"], 1, "loopback"),
        (["--plain", "--script", "/nonexistent/s.yaml"], 1, "readable YAML"),
        (["--plain", "--password-file", "/nonexistent/p"], 1, "readable text file"),
        (["--plain", "--log", "/nonexistent/log", "--listen", "127.0.0.1:0"], 1, "cannot listen or write"),
        (["--plain", "--sink", "--log", "x"], 2, "no script"),
        (["--plain", "--sink", "--system-id", "x"], 2, "no script"),
        (["--plain", "--sink-arrivals", "x"], 2, "add --sink"),
    ],
)
def test_wrong_options_are_explained(arguments: list[str], code: int, what: str) -> None:
    """One message that says what to do, no trace."""
    result = CliRunner().invoke(simulator, arguments)
    assert result.exit_code == code, result.output
    assert what in result.output
    assert "Traceback" not in result.output


def test_help_teaches_with_a_script_that_plays() -> None:
    """What --help shows is valid."""
    shown = CliRunner().invoke(simulator, ["--help"], terminal_width=200, color=False).output
    begin, end = shown.index("    system_id:"), shown.index("The control port")
    assert parse_script(shown[begin:end]).disconnect_after == 5000
