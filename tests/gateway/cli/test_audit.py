"""`smsgw audit tail`: what it shows, in which order, and how it ends."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apsw
import grpc
import pytest

from gateway.audit.codec import encode, frame, frames
from gateway.audit.records import Decision, Kind, NodeStopped
from gateway.audit.rendering import moment
from gateway.audit.socket import AuditSocket, Commit, Page
from gateway.cli.audit import Wanted, lines_of, newest
from gateway.store.contract import AuditCommit
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as pb
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub
from tests.appliance import LOG_ORIGIN, SERVER_NAME, SMSGW, Appliance, Running, run
from tests.gateway.audit.agreement import commits_in
from tests.gateway.audit.samples import AT, SAMPLES, decision
from tests.gateway.cli.conftest import Invoke
from tests.gateway.sequencing.judge import judge_log

ALL = Wanted(frozenset(), frozenset())


class Log:
    """Commits from 1 on, three a page at most; more can be added at any time."""

    def __init__(self, commits: Sequence[bytes]) -> None:
        self.commits = list(commits)

    def page(self, after: int, limit: int) -> Page:
        """Return a page as the node does."""
        end = min(after + min(limit, 3), len(self.commits))
        found = [Commit(number + 1, AT + number, self.commits[number]) for number in range(after, end)]
        return Page(0, len(self.commits), tuple(found))

    async def audit_read(self, after_seq: int, limit: int) -> list[AuditCommit]:
        """Return a page as the store does."""
        return [AuditCommit(seq, at, 1, records) for seq, at, records in self.page(after_seq, limit).commits]

    async def audit_bounds(self) -> tuple[int, int]:
        """Return where it begins and ends."""
        return 0, len(self.commits)


def numbered(count: int) -> list[bytes]:
    """Return commits of two records each: a denial of one tenant, and one of another."""
    return [
        frames([decision(tenant="acme", times=2 * n + 1), decision(tenant="other", times=2 * n + 2)])
        for n in range(count)
    ]


@contextmanager
def serving(path: Path, log: Log) -> Iterator[None]:
    """Serve a log on a socket, in a thread."""
    loop = asyncio.new_event_loop()
    server = AuditSocket(path, log)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        yield
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def tail(site: Path, invoke: Invoke) -> Callable[..., tuple[int, list[str]]]:
    """Run the command on a log; its exit code and what it printed."""

    def run(log: Log, *arguments: str) -> tuple[int, list[str]]:
        with serving(site / "data" / "audit.sock", log):
            result = invoke("audit", "tail", *arguments)
        return result.exit_code, result.output.splitlines()

    return run


Tail = Callable[..., tuple[int, list[str]]]


def times(lines: Sequence[str]) -> list[int]:
    """Return the numbers of decisions that were shown as JSON."""
    return [json.loads(line)["times"] for line in lines]


def test_the_newest(tail: Tail) -> None:
    """The newest twenty records are shown, the oldest of them first; -n says how many."""
    log = Log(numbered(30))
    assert tail(log, "--json") == (0, [*tail(log, "-n", "20", "--json")[1]])
    assert times(tail(log, "--json")[1]) == list(range(41, 61))
    assert times(tail(log, "-n", "3", "--json")[1]) == [58, 59, 60]
    assert times(tail(log, "-n", "1000", "--json")[1]) == list(range(1, 61))
    assert tail(log, "-n", "0") == (0, [])
    assert tail(Log([])) == (0, [])


def test_from_a_commit_on(tail: Tail) -> None:
    """--since shows everything from that commit on."""
    assert times(tail(Log(numbered(30)), "--since", "29", "--json")[1]) == [57, 58, 59, 60]
    assert len(tail(Log(numbered(30)), "--since", "1")[1]) == 60
    assert tail(Log(numbered(3)), "--since", "99") == (0, [])


def test_filters(tail: Tail) -> None:
    """The newest of a tenant or kind are found however far back they are."""
    log = Log([frames([NodeStopped(AT, "node-1")]), *numbered(20)])
    assert times(tail(log, "-n", "3", "--tenant", "acme", "--json")[1]) == [35, 37, 39]
    (line,) = tail(log, "-n", "3", "--kind", "node-stopped")[1]
    assert "#1.0" in line
    code, lines = tail(log, "--kind", "node-stopped", "--kind", "decision", "-n", "100")
    assert (code, len(lines)) == (0, 41)
    assert tail(log, "--kind", "node-stopped", "--tenant", "acme") == (0, [])
    assert tail(log, "--kind", "everything")[0] == 2


def test_lines(tail: Tail) -> None:
    """A line says when, where in the log, what; one for each kind."""
    lines = tail(Log([frames(SAMPLES)]), "-n", "100")[1]
    assert len(lines) == len(SAMPLES)
    assert lines[2] == (
        "2027-01-15T08:00:00.123456Z  #1.2        STATE_CHANGED        01a20a82-af4e-7000-8000-59821521b519"
        "  tenant acme  SENDING → REJECTED  via carrier-1  CARRIER_REJECTED  SMPP status 0x0000000b"
    )
    assert [line.split()[2] for line in lines] == [kind.name for kind in Kind]


def test_json_lines(tail: Tail) -> None:
    """With --json a record is an object with its place and all of its fields."""
    lines = tail(Log([frames(SAMPLES)]), "-n", "100", "--json")[1]
    first = json.loads(lines[0])
    assert (first["seq"], first["number"], first["committed_at"], first["kind"]) == (1, 0, moment(AT), "DECISION")
    assert first["caller"] == "spiffe://example.org/acme/api"
    assert [json.loads(line)["kind"] for line in lines] == [kind.name for kind in Kind]


def test_nothing_drives_the_terminal(tail: Tail) -> None:
    """What is in a record cannot forge a line or move the cursor."""
    bad = decision(reason="A\nB\x1b[2J\u202eC", policy="p\r\x9b31m")
    (line,) = tail(Log([frames([bad])]))[1]
    assert "A\\nB\\x1b[2J\\u202eC" in line
    assert "p\\r\\x9b31m" in line


def test_what_cannot_be_read(tail: Tail) -> None:
    """A record of a newer version, and a commit cut short, are named; the others are shown; the end is an error."""
    newer = b"\x02" + encode(SAMPLES[0])[1:]
    log = Log([frames(SAMPLES[:1]), frame(newer) + frames(SAMPLES[8:9]), frames(SAMPLES[:1]) + b"\xff"])
    code, lines = tail(log, "--kind", "node-stopped")
    assert code == 1
    assert "#2.0        UNREADABLE           its version is 2" in lines[0]
    assert "NODE_STOPPED" in lines[1]
    assert "#3.1        UNREADABLE           the commit ends within a length" in lines[2]
    assert "2 of the records could not be read" in lines[3]
    code, lines = tail(log, "--json")
    assert code == 1
    assert json.loads(lines[1])["kind"] == "UNREADABLE"
    assert json.loads(lines[-1])["error"]["reason"] == "RECORDS_UNREADABLE"


def test_no_node(site: Path, invoke: Invoke) -> None:
    """Without a node, or without its configuration, it says what to do."""
    result = invoke("audit", "tail", "--json")
    assert result.exit_code == 3
    error = json.loads(result.output)["error"]
    assert error["reason"] == "NODE_UNREACHABLE"
    assert "no node is running" in error["message"]
    assert invoke("audit", "tail", "--config", str(site / "other.yaml")).exit_code == 2


def test_backwards() -> None:
    """Reading backwards asks for no more than it needs, and short pages lose nothing."""
    log = Log(numbered(1000))
    asked: list[int] = []

    def read(after: int, limit: int) -> Page:
        asked.append(after)
        return log.page(after, limit)

    lines = newest(read, ALL, 5, read(0, 0))
    assert [line.record.times for line in lines if isinstance(line.record, Decision)] == list(range(1996, 2001))
    assert min(asked[1:]) == 1000 - 256


def test_lines_of_a_commit() -> None:
    """Every record of a commit has its number."""
    found = lines_of(Commit(7, AT, frames(SAMPLES)))
    assert [(line.commit.seq, line.number) for line in found] == [(7, n) for n in range(len(SAMPLES))]
    assert [line.record for line in found] == list(SAMPLES)
    assert lines_of(Commit(7, AT, b"")) == []


def send(port: int, appliance: Appliance) -> str:
    """Send one message to a node; its id."""
    caller = appliance.callers[0]
    credentials = grpc.ssl_channel_credentials(
        caller.bundle.read_bytes(), caller.key.read_bytes(), caller.certificate.read_bytes()
    )
    outbound = message_pb2.OutboundMessage(
        recipient="+4915112345678", sender="ACME", category=message_pb2.CATEGORY_OTP,
        content=message_pb2.Content(text="Your code is 123456")
    )  # fmt: skip
    options = [("grpc.ssl_target_name_override", SERVER_NAME)]
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        request = pb.SendMessageRequest(message=outbound)
        answer: pb.SendMessageResponse = MessageServiceStub(channel).SendMessage(request, timeout=20)
        return answer.accepted.message_id


def kinds_until(process: Running, kind: str) -> list[dict[str, object]]:
    """Return the records that are printed up to one of this kind."""
    found: list[dict[str, object]] = []
    while not found or found[-1]["kind"] != kind:
        found.append(json.loads(process.line()))
    return found


def test_a_real_node(tmp_path: Path) -> None:
    """A node's whole life is there, followed while it happens; and what it was sent is not."""
    appliance = Appliance.create(tmp_path / "appliance")
    config = appliance.configure(None)
    command = [SMSGW, "audit", "tail", "--config", str(config), "--json"]
    with appliance.node() as (node, port):
        with Running([*command, "--follow", "-n", "100"], log=tmp_path / "follow.log") as follow:
            started = kinds_until(follow, "RECOVERED")
            assert [record["kind"] for record in started][:4] == ["NODE_STARTED", *["CONFIG_LOADED"] * 3]
            assert [record["what"] for record in started[1:4]] == ["configuration", "policies", "deny list"]
            assert started[1]["digest"] == hashlib.sha256(config.read_bytes()).hexdigest()
            offline = ("revoke", "--offline", "--config", str(config), "--reason", "nobody is there")
            run(*offline, "--spiffe-id", "spiffe://appliance.example/demo/nobody")
            taken_up = kinds_until(follow, "REVOCATION_CHANGED")
            assert [record["what"] for record in taken_up if record["kind"] == "CONFIG_LOADED"] == ["deny list"]
            assert taken_up[-1]["spiffe_id"] == "spiffe://appliance.example/demo/nobody"
            message_id = send(port, appliance)
            sent = kinds_until(follow, "MESSAGE_STORED")
            assert sent[-1]["message_id"] == message_id
            assert sent[-2]["action"] == "MessageService.SendMessage"
            assert follow.end(signal.SIGINT) == 130
        assert node.end() == 0
    with appliance.node():
        text = run("audit", "tail", "--config", str(config), "--json", "--since", "1")
    signed = json.loads(run("audit", "checkpoint", "--config", str(config), "--json"))
    assert run("audit", "checkpoint", "--config", str(config)) == signed["note"]
    commits = commits_in(appliance.folder / "data" / "smsgw.db")
    assert judge_log(appliance.folder, commits) == signed["size"] == len(commits)
    kinds = [json.loads(line)["kind"] for line in text.splitlines()]
    assert kinds.count("NODE_STARTED") == kinds.count("RECOVERED") == 2
    assert kinds.index("MESSAGE_STORED") < kinds.index("NODE_STOPPED") < kinds.index("RECOVERED", 5)
    for secret in ("15112345678", "X5678", "Your code", "123456 "):
        assert secret not in text


def test_a_start_over_a_changed_audit(tmp_path: Path) -> None:
    """A node whose audit was changed while it was down does not start, and says which commit it is."""
    appliance = Appliance.create(tmp_path / "appliance")
    appliance.configure(None)
    with appliance.node() as (node, _):
        assert node.end() == 0
    db = apsw.Connection(str(appliance.folder / "data" / "smsgw.db"))
    db.execute("DROP TRIGGER audit_commit_fixed")
    db.execute("UPDATE audit_commit SET at = at + 1 WHERE seq = 1")
    db.close()
    ended = subprocess.run(appliance.serve_command(), capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "commit 1 of the audit was changed: its time was another" in ended.stderr


def test_a_database_that_was_put_back(tmp_path: Path) -> None:
    """A node whose database is older than what it has signed does not start; under another name its log goes on."""
    appliance = Appliance.create(tmp_path / "appliance")
    config = appliance.configure(None)
    database = appliance.folder / "data" / "smsgw.db"
    with appliance.node() as (node, _):
        assert node.end() == 0
    before = database.read_bytes()
    with appliance.node() as (node, _):
        assert node.end() == 0
    database.write_bytes(before)
    ended = subprocess.run(appliance.serve_command(), capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "are gone from the log" in ended.stderr
    assert "audit-log/checkpoint has a checkpoint of" in ended.stderr
    config.write_text(config.read_text().replace(f"origin: {LOG_ORIGIN}", f"origin: {LOG_ORIGIN}-2"))
    with appliance.node() as (node, _):
        assert node.end() == 0
    signed = json.loads(run("audit", "checkpoint", "--config", str(config), "--json"))
    assert (signed["origin"], signed["size"]) == (f"{LOG_ORIGIN}-2", len(commits_in(database)))
