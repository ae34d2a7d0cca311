"""strace is the judge of durability: the reply's octets leave after fdatasync has returned."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from smsgw.v1 import message_pb2 as m
from smsgw.v1 import message_service_pb2 as s
from tests.appliance import Appliance
from tests.interop.conftest import Client
from tests.interop.strace_judge import TRACED, RepliedEarly, judge, read

pytestmark = pytest.mark.interop

CALLS = 6
BATCH = 100


def traced_calls(appliance: Appliance, client: Client, program: list[str]) -> list[str]:
    """Run the node by `program` under strace, make some calls; the lines of the trace."""
    trace = appliance.folder / "trace"
    appliance.configure(None)
    strace = ["strace", "-f", "-ttt", "-y", "-s", "0", "-e", f"trace={TRACED}", "-o", str(trace)]
    with appliance.node([*strace, *program, "serve", "--config", str(appliance.folder / "smsgw.yaml")]) as (_, port):
        stub = client(port, appliance.callers[0])
        for number in range(CALLS):
            reply = stub.SendMessages(s.SendMessagesRequest(messages=batch(number)), timeout=30)
            assert all(result.HasField("accepted") for result in reply.results)
    return trace.read_text().splitlines()


def batch(number: int) -> list[m.OutboundMessage]:
    """Return a batch whose request takes about 18 KB, and its reply 6 KB: far more than what keeps a connection."""
    return [
        m.OutboundMessage(
            recipient=f"+49151{number:04d}{each:04d}",
            sender="ACME",
            category=m.CATEGORY_OTP,
            content=m.Content(text=f"{number}/{each} ".ljust(120, ".")),
        )
        for each in range(BATCH)
    ]


def judged(lines: list[str]) -> int:
    """Return how many replies the judge saw leave in time."""
    return judge(lines, database="smsgw.db", request_bytes=10_000, reply_bytes=3_000)


def test_the_reply_leaves_after_the_sync(appliance: Appliance, client: Client) -> None:
    """Each call's data is synced between the last octet of its request and the first of its reply."""
    lines = traced_calls(appliance, client, [str(Path(sys.executable).parent / "smsgw")])
    assert judged(lines) == CALLS


def test_a_node_that_replies_early_is_found_out(appliance: Appliance, client: Client) -> None:
    """The judge refuses a node that answers first and commits later."""
    lines = traced_calls(appliance, client, [sys.executable, "-m", "tests.interop.early_reply"])
    with pytest.raises(RepliedEarly):
        judged(lines)


SYNCED = """\
7 1.0 recvmsg(9<socket:[5]>, {msg_namelen=0}, 0) = 12000
8 1.1 fdatasync(4</d/smsgw.db-wal> <unfinished ...>
7 1.2 recvmsg(9<socket:[5]>, {msg_namelen=0}, 0) = -1 EAGAIN (Resource temporarily unavailable)
8 1.3 <... fdatasync resumed>) = 0
7 1.4 sendmsg(9<socket:[5]>, {msg_name=NULL}, MSG_NOSIGNAL) = 6000
""".splitlines()


def test_the_judge_reads_calls_that_were_interrupted() -> None:
    """A call that strace shows in two lines is one, from the first to the second."""
    sync = next(call for call in read(SYNCED) if call.name == "fdatasync")
    assert (sync.fd, sync.path, sync.result, sync.began, sync.ended) == (4, "/d/smsgw.db-wal", 0, 1, 3)
    assert judged(SYNCED) == 1


@pytest.mark.parametrize(
    "lines",
    [
        [SYNCED[0], SYNCED[4]],
        [SYNCED[0], SYNCED[1], SYNCED[4], SYNCED[3]],
        [SYNCED[1], SYNCED[0], SYNCED[3], SYNCED[4]],
        [SYNCED[0], SYNCED[1], SYNCED[3].replace("= 0", "= -1 EIO"), SYNCED[4]],
    ],
    ids=["no sync", "sync not over", "sync begun before the request", "sync failed"],
)
def test_the_judge_refuses(lines: list[str]) -> None:
    """A reply without a whole, successful sync of its own is early."""
    with pytest.raises(RepliedEarly):
        judged(lines)
