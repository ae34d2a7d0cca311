"""A node in four commands, as processes of their own."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.children import smsgw_command

_WAIT_S = 30


def smsgw(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run a command in the folder; its standard output."""
    done = subprocess.run(
        smsgw_command(*arguments), cwd=folder, capture_output=True, text=True, timeout=_WAIT_S, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout


@contextlib.contextmanager
def running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command in the folder until the block ends."""
    with (folder / "stderr.log").open("w") as log:
        process = subprocess.Popen(smsgw_command(*arguments), cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(_WAIT_S)
        if process.stdout is not None:
            process.stdout.close()


def ready_line(process: subprocess.Popen[str]) -> str:
    """Return the line that says it is ready; the test's own time limit bounds the wait."""
    assert process.stdout is not None
    return process.stdout.readline()


def test_four_commands_make_a_node(tmp_path: Path) -> None:
    """init, ca init, ca issue and serve, exactly as init prints them, give a node that a caller reaches."""
    answer = json.loads(smsgw(tmp_path, "init", "--trust-domain", "corp.example", "--json"))
    steps = [command.split()[1:] for command in answer["next"]]
    config = tmp_path / "smsgw.yaml"
    for name in ("smsgw.yaml", "client.yaml"):  # a port of the test's own, to run beside others
        text = (tmp_path / name).read_text()
        assert "127.0.0.1:7443" in text
    config.write_text(re.sub(r"127\.0\.0\.1:(7443|7444|9464)", "127.0.0.1:0", config.read_text()))
    smsgw(tmp_path, *steps[0])
    smsgw(tmp_path, *steps[1])
    with running(tmp_path, *steps[2]) as node:
        line = ready_line(node)
        assert line.startswith("smsgw node-1 ready: api 127.0.0.1:"), (tmp_path / "stderr.log").read_text()
        assert line.endswith(", carriers 0\n")
        address = line.split()[4].rstrip(",")
        smsgw(tmp_path, *steps[3])
        sent = json.loads(smsgw(tmp_path, *steps[4], "--target", address, "--json"))
        assert sent["state"] == "ACCEPTED"
        smsgw(tmp_path, "check")
        status = json.loads(smsgw(tmp_path, "status", "--config", "smsgw.yaml", "--json"))
        assert status["node"] == "node-1"
        page = metrics_page(tmp_path / "stderr.log")
        assert b'smsgw_messages_accepted_total{category="OTP"} 1.0' in page
        assert b'rpc_method="smsgw.v1.MessageService/SendMessage"' in page
        assert "node-1" in smsgw(tmp_path, "status", "--config", "smsgw.yaml")
        node.send_signal(signal.SIGTERM)
        assert node.wait(_WAIT_S) == 0
    smsgw(tmp_path, "status", "--config", "smsgw.yaml", code=3)
    logged = [json.loads(log_line) for log_line in (tmp_path / "stderr.log").read_text().splitlines()]
    assert not [event for event in logged if "15112345678" in json.dumps(event)]
    assert [event["event"] for event in logged].count("heap_settled") == 1


def metrics_page(log: Path) -> bytes:
    """Return what the node shows Prometheus, at the port that its log names."""
    (port,) = [json.loads(line)["port"] for line in log.read_text().splitlines() if '"metrics_page"' in line]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_WAIT_S)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read()
    finally:
        connection.close()


def test_ready_in_json_and_limits(site: Path) -> None:
    """--json gives the ready line as an object; a running node writes no core file and only private files."""
    config = site / "smsgw.yaml"
    config.write_text(re.sub(r"127\.0\.0\.1:(7443|7444|9464)", "127.0.0.1:0", config.read_text()))
    with running(site, "serve", "--json") as node:
        ready = json.loads(ready_line(node))
        assert ready["event"] == "ready"
        assert ready["carriers"] == 0
        limits = Path(f"/proc/{node.pid}/limits").read_text()
        assert "Max core file size        0                    0" in limits
        assert "Umask:\t0077" in Path(f"/proc/{node.pid}/status").read_text()
        node.send_signal(signal.SIGINT)
        assert node.wait(_WAIT_S) == 0


def test_port_that_is_taken(site: Path) -> None:
    """A node that cannot listen ends with 1 and says so."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = site / "smsgw.yaml"
        text = config.read_text().replace(":7443", f":{taken.getsockname()[1]}").replace(":9464", ":0")
        config.write_text(text)
        done = subprocess.run(
            smsgw_command("serve", "--json"), cwd=site, capture_output=True, text=True, timeout=_WAIT_S, check=False
        )
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["reason"] == "NODE_ENDED"


@pytest.mark.parametrize("key", ["node.trust_domian", "logg"])
def test_unknown_key(site: Path, key: str) -> None:
    """An unknown key keeps the node from starting, with 2, file, line and the nearest key."""
    section, _, name = key.partition(".")
    (site / "smsgw.yaml").write_text(f"# first\n{section}: {{{name + ': x' if name else ''}}}\n")
    done = subprocess.run(
        smsgw_command("serve"), cwd=site, capture_output=True, text=True, timeout=_WAIT_S, check=False
    )
    assert done.returncode == 2
    assert f"smsgw: smsgw.yaml:2: {key}: is no setting; did you mean" in done.stderr
