"""`smsgw dev` as its user sees it: real processes, a simulated carrier over TLS, receipts."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.children import smsgw_command
from gateway.cli.dev_site import DevFailed, DevSite, require_free

_WAIT_S = 60


@contextlib.contextmanager
def running(command: str, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command with JSON until the block ends, however it ends."""
    line = smsgw_command(command, "--dir", str(folder), "--json", *arguments)
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=_WAIT_S)


def until(process: subprocess.Popen[str], event: str) -> list[dict[str, object]]:
    """Return what it says up to this event; the test's own time limit bounds the wait."""
    assert process.stdout is not None
    told: list[dict[str, object]] = []
    while line := process.stdout.readline():
        told.append(json.loads(line))
        if told[-1]["event"] == event:
            return told
    assert process.stderr is not None
    raise AssertionError(f"no {event} in {told}: {process.stderr.read()}")


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def smsgw(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(smsgw_command(*arguments), capture_output=True, text=True, timeout=_WAIT_S, check=False)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run `smsgw dev --once` in a new folder, and hold it to its word; the folder serves the other tests."""
    folder = tmp_path_factory.mktemp("dev") / "site"
    done = smsgw("dev", "--dir", str(folder), "--once", "--json")
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [entry["process"] for entry in told if entry["event"] == "started"] == [
        "the CA",
        "the simulated carrier",
        "the gateway",
    ]
    states: dict[str, list[str]] = {}
    for entry in told:
        if entry["event"] == "state":
            change = entry["state_change"]
            states.setdefault(change["message_id"], []).append(change["state"])
            assert "X" in change["masked_recipient"]
    assert len(states) == 4
    assert all(seen[0] == "ACCEPTED" and seen[-1] == "DELIVERED" for seen in states.values())
    assert {"event": "messages", "delivered": 4, "sent": 4} in told
    (trace,) = (entry for entry in told if entry["event"] == "trace")
    names = [span["name"] for span in trace["spans"]]
    assert names[0] == "smsgw.v1.MessageService/SendMessage"
    assert {"send otp", "process otp", "submit_sm simulator", "receipt simulator"} <= set(names)
    assert told[-1]["event"] == "stopped"
    return folder


def test_first_run_keeps_everything_private(first_run: Path) -> None:
    """The folder and what is secret in it are closed to others; no log has a full number or a text."""
    assert first_run.stat().st_mode & 0o777 == 0o700
    for path in first_run.rglob("*"):
        if path.suffix in {".key", ".password", ".db"}:
            assert path.stat().st_mode & 0o077 == 0, path
    logs = "".join(path.read_text() for path in (first_run / "logs").iterdir())
    assert "15112345678" not in logs
    assert "4711" not in logs


def test_staying_up(first_run: Path) -> None:
    """It stays until interrupted; what it prints works: send, watch, status, and the Python of example.py."""
    with running("dev", first_run) as process:
        ready = until(process, "ready")[-1]
        started = children(process.pid)
        assert len(started) == 3
        folder = str(first_run)
        send = ("send", "--dir", folder, "--from", "ACME", "--category", "OTP", "--text", "4711", "--follow", "--to")
        delivered = smsgw(*send, "+4915112345678")
        assert delivered.returncode == 0, delivered.stderr
        assert delivered.stdout.splitlines()[-1].split()[1] == "DELIVERED"
        assert smsgw(*send, "+4915112345699").returncode == 1  # simulator.yaml says so
        example = subprocess.run(
            [sys.executable, str(ready["example"])], capture_output=True, text=True, timeout=_WAIT_S, check=False
        )
        assert example.returncode == 0, example.stderr
        assert "State.ACCEPTED" in example.stdout
        assert "State.DELIVERED" in example.stdout
        with running("watch", first_run, "--from-start") as watch:
            assert watch.stdout is not None
            inbound = next(event for line in watch.stdout if "inbound" in (event := json.loads(line)))["inbound"]
            assert (inbound["recipient"], inbound["text"]) == ("80800", "Hello to the gateway")
            watch.send_signal(signal.SIGINT)
            assert watch.wait(_WAIT_S) == 130
        status = json.loads(smsgw("status", "--dir", folder, "--json").stdout)
        assert status["links"][0]["state"] == "bound"
        second = smsgw("dev", "--dir", folder, "--once")
        assert second.returncode == 2
        assert "another smsgw dev" in second.stderr
        process.send_signal(signal.SIGINT)
        assert until(process, "stopped")
        assert process.wait(_WAIT_S) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in started)


def test_edits_survive_and_nothing_outlives_it(first_run: Path) -> None:
    """A renamed node on another port runs as it was edited; killing `dev` ends all it had started."""
    config = first_run / "smsgw.yaml"
    text = config.read_text()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    edited = text.replace("name: node-1", "name: my-node # mine").replace(
        next(line for line in text.splitlines() if line.startswith("  listen:")), f"  listen: {listen}"
    )
    config.write_text(edited)
    with running("dev", first_run) as process:
        assert until(process, "ready")[-1]["api"] == listen
        assert json.loads(smsgw("status", "--dir", str(first_run), "--json").stdout)["node"] == "my-node"
        handles = [os.pidfd_open(pid) for pid in children(process.pid)]
        assert len(handles) == 3
        process.kill()
        process.wait(_WAIT_S)
        for handle in handles:
            assert select.select([handle], [], [], _WAIT_S)[0], "a child outlived its parent"
            os.close(handle)
    assert config.read_text() == edited


def test_other_carriers_get_no_test_messages(first_run: Path) -> None:
    """When the configuration has a carrier of the user's, --once refuses to send to it."""
    config = first_run / "smsgw.yaml"
    text = config.read_text()
    config.write_text(text.replace("name: simulator", "name: acme"))
    try:
        done = smsgw("dev", "--dir", str(first_run), "--once")
    finally:
        config.write_text(text)
    assert done.returncode == 2
    assert "no test messages" in done.stderr


def test_mistake_in_the_edited_file(first_run: Path) -> None:
    """A mistake is told with its line, before anything is started."""
    config = first_run / "smsgw.yaml"
    text = config.read_text()
    config.write_text(text.replace("pipeline:", "pipline:"))
    try:
        done = smsgw("dev", "--dir", str(first_run), "--once")
    finally:
        config.write_text(text)
    assert done.returncode == 2
    assert "pipline: is no setting; did you mean pipeline?" in done.stderr


def test_port_that_is_taken(tmp_path: Path) -> None:
    """A port that somebody else uses is named with the key that changes it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(DevFailed, match=r"api\.listen"):
            require_free("127.0.0.1", taken.getsockname()[1], "api.listen", tmp_path / "smsgw.yaml")


def test_folder_of_somebody_else(tmp_path: Path) -> None:
    """A folder that dev did not make is left alone."""
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(DevFailed, match="not made by smsgw dev"):
        DevSite(tmp_path).ensure()
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
