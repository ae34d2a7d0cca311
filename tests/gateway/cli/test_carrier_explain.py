"""`smsgw carrier explain` as a network engineer uses it: with a node and without one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.assembly import offline_explainer
from gateway.cli.main import main
from gateway.config.loader import load
from gateway.pipeline.routing_socket import SOCKET_NAME, RoutingSocket
from tests.gateway.pipeline.rig import START
from tests.gateway.pipeline.test_explainer import GERMANY, Site

TO_GERMANY = ("--to", "+4915112345678", "--category", "otp")


@pytest.fixture
def folder(site: Path) -> Path:
    """Return a node's folder with two carriers and routes."""
    (site / "secret").write_text("s3cret")
    (site / "secret").chmod(0o600)
    file = site / "smsgw.yaml"
    document = yaml.safe_load(file.read_text())
    document["carriers"] = [
        {"name": name, "host": f"{name}.example", "system_id": "me", "password_file": "secret"}
        for name in ("acme", "other")
    ]
    document["routes"] = [
        {"name": "germany", "countries": ["DE"], "targets": [{"carrier": "acme", "sender": "ACMEDE", "weight": 3},
                                                             {"carrier": "other"}]},
        {"name": "india", "prefixes": ["+9198"], "targets": [{"carrier": "other"}]},
    ]  # fmt: skip
    file.write_text(yaml.safe_dump(document))
    return site


def call(folder: Path, *arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["carrier", "explain", "--dir", str(folder), *arguments])


def asked(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run it for machines; the exit code and the answer."""
    result = call(folder, *arguments, "--json")
    return result.exit_code, json.loads(result.stdout)


def test_from_the_configuration(folder: Path) -> None:
    """Without a node, the route, its carriers with their shares, the sender and the segments, and that no node runs."""
    code, answer = asked(folder, *TO_GERMANY, "--text", "x" * 200)
    assert (code, answer["running"], answer["route"], answer["carrier"]) == (0, False, "germany", "acme")
    assert [(target["carrier"], target["share"], target["sender"]) for target in answer["targets"]] == [
        ("acme", 0.75, "ACMEDE"),
        ("other", 0.25, "ACME"),
    ]
    assert answer["targets"][0]["content"] == {"encoding": "GSM7", "segments": 2}
    words = call(folder, *TO_GERMANY).stdout
    assert words.startswith("acme  the number is of DE\n")
    assert "no node is running here" in words


def test_by_prefix(folder: Path) -> None:
    """The longest prefix says why."""
    assert asked(folder, "--to", "+919812345678", "--category", "OTP")[1]["why"] == "the number begins with +9198"


def test_no_route_fits(folder: Path) -> None:
    """Exit code 1, and the reason that such a message would be rejected with."""
    code, answer = asked(folder, "--to", "+33612345678", "--category", "OTP")
    assert (code, answer["carrier"]) == (1, None)
    assert "NO_ROUTE" in answer["why"]


@pytest.mark.parametrize(
    "arguments",
    [("--to", "nobody", "--category", "OTP"), (*TO_GERMANY, "--from", "TWELVELETTER"), (*TO_GERMANY, "--tenant", "x"),
     (*TO_GERMANY, "--message-id", "7"), (*TO_GERMANY, "--text", "x" * 9000)],
)  # fmt: skip
def test_bad_questions(folder: Path, arguments: tuple[str, ...]) -> None:
    """What cannot be asked is told with exit code 2, and nothing of a number is repeated."""
    result = call(folder, *arguments, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["reason"] == "BAD_QUESTION"


async def test_from_a_running_node(folder: Path) -> None:
    """A node that runs here is asked, and what it knows of its links is the answer."""
    data = load(folder / "smsgw.yaml").node.data_dir
    data.mkdir(mode=0o700, exist_ok=True)
    site = Site(GERMANY)
    site.switches.close("acme")
    socket = RoutingSocket(data / SOCKET_NAME, site.explainer, lambda: START)
    await socket.start()
    try:
        code, answer = await asyncio.to_thread(asked, folder, *TO_GERMANY)
    finally:
        await socket.stop()
    assert (code, answer["running"], answer["carrier"]) == (0, True, "other")
    assert answer["targets"][0]["hindrances"][0]["code"] == "SWITCHED_OFF"


def test_the_same_explainer_as_a_node_has(folder: Path) -> None:
    """What answers offline is built from the configuration's own routes and policies."""
    explainer = offline_explainer(load(folder / "smsgw.yaml"))
    assert not explainer.running
    assert [plans.route.name for plans in explainer.router.table.routes] == ["germany", "india"]
