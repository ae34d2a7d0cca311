"""`smsgw carrier probe` as a network engineer uses it, against a simulated carrier over TLS."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from carrier.ids import IdForm
from carrier.simulator.script_file import parse_script
from carrier.simulator.simulator import Simulator
from gateway.cli.main import main
from gateway.config.loader import load
from tests.quirks.conftest import files
from tests.quirks.linked import server_context
from tests.quirks.way import Files

__all__ = ["files"]
NUMBER = "+4915112345678"
QUICK = ("--alone", "3", "--fast", "3", "--burst", "3", "--binds", "2", "--wait", "10")


@contextmanager
def simulated(files: Files, script: str) -> Iterator[int]:
    """Run a simulator in a thread of its own; its port. The command has its own event loop."""
    ready, stop, port = threading.Event(), threading.Event(), [0]

    async def serve() -> None:
        simulator = Simulator(parse_script(script), server_context(files.certificate, files.key))
        await simulator.start()
        port[0] = simulator.port
        ready.set()
        while not stop.is_set():
            await asyncio.sleep(0.01)
        await simulator.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(20)
        yield port[0]
    finally:
        stop.set()
        thread.join(20)


def configure(site: Path, files: Files, port: int) -> Path:
    """Write the carrier into the site's configuration."""
    (site / "secret").write_text("secret")
    (site / "secret").chmod(0o600)
    file = site / "smsgw.yaml"
    document = yaml.safe_load(file.read_text())
    document["carriers"] = [
        {"name": "acme", "host": "localhost", "port": port, "system_id": "me", "password_file": "secret",
         "tls": {"ca_file": str(files.ca)}},
    ]  # fmt: skip
    file.write_text(yaml.safe_dump(document))
    return file


def call(site: Path, *arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["carrier", "probe", "acme", "--dir", str(site), "--to", NUMBER, *arguments])


def test_what_is_proposed_can_be_pasted(site: Path, files: Files) -> None:
    """The printed section, in place of the old one, is a valid configuration that has what was found."""
    with simulated(files, "message_ids: hex\nreceipts: {ids: decimal}\nbinds: {most: 1}") as port:
        file = configure(site, files, port)
        result = call(site, *QUICK, "--yes")
    assert result.exit_code == 0, result.output
    assert f"sends up to {3 + 2 + 2 + 6 + 3} messages to +49XXXXXXX5678" in result.stderr
    assert NUMBER not in result.output
    document = yaml.safe_load(file.read_text()) | yaml.safe_load(result.stdout)
    file.write_text(yaml.safe_dump(document))
    (profile,) = load(file).carriers
    assert (profile.name, profile.port, profile.tls and profile.tls.ca_file) == ("acme", port, files.ca)
    assert (profile.ids.response, profile.ids.receipt, profile.binds) == (IdForm.HEX, IdForm.DECIMAL, 1)


def test_for_machines(site: Path, files: Files) -> None:
    """One object with the settings and the facts."""
    with simulated(files, "") as port:
        configure(site, files, port)
        result = call(site, *QUICK, "--yes", "--json")
    found = json.loads(result.stdout)
    assert found["sent"] == 16
    settings = {finding["setting"]: finding["value"] for finding in found["findings"] if "setting" in finding}
    assert settings["ids.response"] == "as_is"
    assert any(finding.get("fact") == "TLS" for finding in found["findings"])


def test_nothing_is_sent_without_a_yes(site: Path, files: Files) -> None:
    """Where nobody can be asked, it says how many messages there would be, and stops."""
    with simulated(files, "") as port:
        configure(site, files, port)
        result = call(site, *QUICK)
    assert result.exit_code == 2
    assert "up to 16 messages" in result.stderr
    assert "--yes" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("--from", "far too long a sender"), 2, "--from"),
        (("--to", "12"), 2, "E.164"),
        (("--fast", "200", "--burst", "200"), 2, "at most 500"),
    ],
)
def test_what_is_wrong_is_said(site: Path, files: Files, arguments: tuple[str, ...], code: int, what: str) -> None:
    """Before anything is connected to."""
    configure(site, files, 1)
    result = call(site, "--yes", *arguments)
    assert (result.exit_code, what in result.stderr) == (code, True), result.output


def test_a_carrier_that_refuses(site: Path, files: Files) -> None:
    """The reason is told, with the exit code of a refusal; an unknown carrier is a mistake of the command line."""
    with simulated(files, "password: other") as port:
        configure(site, files, port)
        result = call(site, "--yes")
    assert result.exit_code == 4
    assert "ESME_RINVPASWD" in result.stderr
    other = CliRunner().invoke(main, ["carrier", "probe", "nobody", "--dir", str(site), "--to", NUMBER])
    assert (other.exit_code, "it has: acme" in other.stderr) == (2, True)
