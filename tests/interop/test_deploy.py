"""The unit in docs/deploy by systemd's own judgement, and a node that lives under the system calls that it leaves."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as pb
from tests.appliance import SMSGW, Appliance, CarrierSpec, Running
from tests.interop.conftest import Client

DEPLOY = Path(__file__).resolve().parents[2] / "docs" / "deploy"
UNIT = DEPLOY / "smsgw.service"
CONFINE = Path(__file__).with_name("confine.py")
EXPOSURE = 15  # tenths, of 100; systemd calls 20 and less "OK"

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here"),
]
UNITS = sorted(path.name for path in DEPLOY.iterdir() if path.suffix in {".service", ".timer"})


@pytest.mark.parametrize("unit", sorted(path.name for path in DEPLOY.glob("*.service")))
def test_exposure(unit: str) -> None:
    """systemd finds little that the service could do beyond its work."""
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", str(DEPLOY / unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout
    assert "Overall exposure level" in told.stdout


@pytest.mark.parametrize(
    "unit", sorted(path.name for path in DEPLOY.iterdir() if path.suffix in {".service", ".timer"})
)
def test_every_line_is_understood(unit: str) -> None:
    """systemd knows each key; what it misses is smsgw itself, which is not installed here."""
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(DEPLOY / unit)], capture_output=True, text=True, check=False
    )
    wrong = [line for line in told.stderr.splitlines() if unit in line and "is not executable" not in line]
    assert wrong == []


def test_the_judge_has_teeth(tmp_path: Path) -> None:
    """A program under the same filter may not do what the unit forbids."""
    probe = tmp_path / "probe.py"
    probe.write_text(
        "import mmap, os, socket\n"
        "def refused(what):\n"
        "    try:\n        what()\n    except OSError:\n        return True\n    return False\n"
        "wx = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC\n"
        "print(refused(lambda: mmap.mmap(-1, 4096, prot=wx)),\n"
        "      refused(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),\n"
        "      refused(lambda: os.chroot('/')), refused(lambda: socket.socket().close()))\n"
    )
    told = subprocess.run(
        [sys.executable, str(CONFINE), str(UNIT), sys.executable, str(probe)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.split() == ["True", "True", "True", "False"]


def test_a_node_under_the_units_filter(appliance: Appliance, client: Client) -> None:
    """A confined node starts, sends over TLS, gets its receipt, reloads, and drains on SIGTERM."""
    script = appliance.folder / "script.yaml"
    script.write_text("receipts: {delay_s: 0.05}\n")
    keys = ("--cert", str(appliance.carrier_certificate), "--key", str(appliance.carrier_key))
    listening = [SMSGW, "simulator", *keys, "--listen", "127.0.0.1:0", "--script", str(script), "--json", "--quiet"]
    with Running(listening, log=appliance.folder / "simulator.log") as carrier:
        port = int(json.loads(carrier.line())["port"])
        appliance.configure(CarrierSpec(port=port, ca_file=appliance.carrier_ca))
        command = [sys.executable, str(CONFINE), str(UNIT), *appliance.serve_command()]
        with appliance.node(command, wrapped=False) as (node, api_port):
            status = Path(f"/proc/{node.pid}/status").read_text()
            assert "Seccomp:\t2" in status
            assert "NoNewPrivs:\t1" in status
            stub = client(api_port, appliance.callers[0])
            message = message_pb2.OutboundMessage(
                recipient="+4915112345678", sender="ACME", category=message_pb2.CATEGORY_OTP,
                content=message_pb2.Content(text="4711"),
            )  # fmt: skip
            sent = stub.SendMessage(pb.SendMessageRequest(message=message), timeout=30)
            request = pb.GetMessageRequest(message_id=sent.accepted.message_id)
            deadline = time.monotonic() + 60
            while stub.GetMessage(request, timeout=30).message.state != message_pb2.MESSAGE_STATE_DELIVERED:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            node.process.send_signal(signal.SIGHUP)
            while "reloaded_by_signal" not in node.log.read_text():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert node.end() == 0
        assert "Operation not permitted" not in node.log.read_text()


def test_the_container_has_all_that_the_wheel_needs(tmp_path: Path) -> None:
    """What the Containerfile copies is enough to build smsgw, with its migrations, policies and commands."""
    source = tmp_path / "source"
    source.mkdir()
    copies = re.findall(r"^COPY ((?!--from)[^\n]+)$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
    for name in (name for copy in copies for name in copy.split()[:-1]):
        path = DEPLOY.parents[1] / name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, source / name)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as built:
        names = built.namelist()
        (commands,) = (built.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    for package in ("gateway/store/sqlite", "gateway/store/postgres"):
        there = sorted(path.name for path in (DEPLOY.parents[1] / package / "migrations").glob("*.sql"))
        assert sorted(Path(name).name for name in names if name.startswith(f"{package}/migrations/")) == there
    assert "gateway/cli/main.py" in names
    assert "smsgw/v1/message_pb2.py" in names
    assert "serve = gateway.cli.serve:serve" in commands
