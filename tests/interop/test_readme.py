"""The README is the judge: what it tells a newcomer to type works as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.appliance import SMSGW, Running
from tests.interop.conftest import ROOT

pytestmark = pytest.mark.interop

README = (ROOT / "README.md").read_text()
LISTEN = "127.0.0.1:7443"
METRICS = "127.0.0.1:9464"


def python_example() -> str:
    """Return the one Python block."""
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return str(block)


def own_node() -> list[list[str]]:
    """Return the commands of the section "A node of your own", as words, comments left out."""
    section = README.split("## A node of your own", 1)[1].split("\n## ", 1)[0]
    return [shlex.split(line, comments=True) for line in section.splitlines() if line.startswith("    smsgw ")]


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to type in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_example_sends(newcomer: Path) -> None:
    """The lines send a message to the appliance of `make run`, and see its receipt."""
    with Running([SMSGW, "dev", "--json"], log=newcomer / "dev.log") as appliance:
        while (told := json.loads(appliance.line(90))).get("event") != "ready":
            assert "error" not in told, told
        assert LISTEN in python_example()
        code = python_example().replace(LISTEN, told["api"])
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert "+49XXXXXXX5678" in done.stdout
    assert "DELIVERED" in done.stdout


def test_a_node_of_ones_own_runs(newcomer: Path) -> None:
    """The commands make an authority, a configuration and certificates with which the node is ready and accepts."""
    *before, keep, check, serve = own_node()
    assert keep[-1] == "&"
    assert (check, serve) == (["smsgw", "check"], ["smsgw", "serve"])
    for _, *arguments in before:
        subprocess.run([SMSGW, *arguments], capture_output=True, text=True, timeout=30, check=True)
    with Running([SMSGW, *keep[1:-1]], log=newcomer / "ca.log") as authority:
        authority.line_with("ready")
        subprocess.run([SMSGW, "check"], capture_output=True, text=True, timeout=30, check=True)
        config = newcomer / "smsgw.yaml"
        text = config.read_text().replace(LISTEN, "127.0.0.1:0").replace(METRICS, "127.0.0.1:0")  # of another node here
        config.write_text(text)
        with Running([SMSGW, "serve"], log=newcomer / "node.log") as node:
            address = node.line_with(r"ready: api (\S+),").group(1)
            send = ["send", "--dir", ".", "--target", address, "--to", "+4915112345678", "--from", "ACME"]
            sent = subprocess.run(
                [SMSGW, *send, "--category", "OTP", "--text", "hello", "--json"],
                capture_output=True, text=True, timeout=30, check=False,
            )  # fmt: skip
    assert sent.returncode == 0, sent.stdout + sent.stderr
    assert "message_id" in sent.stdout
