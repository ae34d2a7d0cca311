"""The commands that call a node: what they send, show and exit with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway import errors
from gateway.sealed.binding import Bearer
from gateway.sealed.compact import read_header
from gateway.sealed.keys import PayloadKeys
from gateway.sealed.opening import open_sealed
from gateway.states import State
from smsgw.v1 import message_pb2 as pb
from smsgw.v1 import message_service_pb2 as api
from tests.gateway.cli.conftest import MESSAGE_ID, FakeNode, Invoke, state_event
from tests.gateway.sealed.keys import payload_key

SEND = ("send", "--to", "+4915112345678", "--from", "ACME", "--category", "OTP")


def test_send_gives_the_node_all_that_was_said(node: FakeNode, invoke: Invoke) -> None:
    """Every option reaches the message, and the answer is shown."""
    result = invoke(*SEND, "--text", "Hi", "--validity", "90s", "--key", "k", "--ref", "r", "--label", "a=b=c",
                    "--not-before", "2030-01-02T03:04:05")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.output == f"ACCEPTED  {MESSAGE_ID}  +49XXXXXXX5678  1 segment\n"
    (message,) = node.sent
    assert message.recipient == "+4915112345678"
    assert message.sender == "ACME"
    assert message.category == pb.CATEGORY_OTP
    assert message.content.text == "Hi"
    assert message.validity.seconds == 90
    assert message.idempotency_key == "k"
    assert message.client_reference == "r"
    assert dict(message.labels) == {"a": "b=c"}
    assert message.not_before.seconds > 1_893_000_000


def test_send_sealed(node: FakeNode, invoke: Invoke) -> None:
    """With --sealed the node gets a JWE for its payload key, under a key of the message; without one, nothing."""
    assert "publishes no payload key" in invoke(*SEND, "--text", "Hi", "--sealed").output
    assert node.sent == []
    key = payload_key()
    node.jwk_set = PayloadKeys([key]).published(0)
    assert invoke(*SEND, "--text", "Hi", "--sealed", "--validity", "90s").exit_code == 0
    (message,) = node.sent
    assert message.content.WhichOneof("kind") == "sealed_jwe"
    header = read_header(message.content.sealed_jwe)
    assert (header.tenant, header.key) == ("demo", message.idempotency_key)
    bearer = Bearer("demo", message.recipient, message.idempotency_key, 0)
    assert open_sealed(message.content.sealed_jwe, header, key, bearer).text == "Hi"


def test_send_reads_the_text_from_standard_input(node: FakeNode, invoke: Invoke) -> None:
    """--file - takes UTF-8, less one line end."""
    assert invoke(*SEND, "--file", "-", input="नमस्ते\n\n").exit_code == 0
    assert node.sent[0].content.text == "नमस्ते\n"


@pytest.mark.parametrize(
    ("arguments", "stdin", "text"),
    [
        ((), "", "one of them"),
        (("--text", "a", "--file", "-"), "", "one of them"),
        (("--file", "-"), b"\xff", "not UTF-8"),
        (("--file", "-"), "x" * 70_000, "longer than"),
        (("--text", "a", "--label", "=b"), "", "KEY=VALUE"),
        (("--text", "a", "--validity", "90"), "", "Write 90s"),
        (("--text", "a", "--target", "nowhere"), "", "host:port"),
    ],
)
def test_wrong_use_of_send(node: FakeNode, invoke: Invoke, arguments: tuple[str, ...], stdin: str, text: str) -> None:
    """What is wrong on the command line exits 2 before anything is sent."""
    result = invoke(*SEND, *arguments, input=stdin)
    assert result.exit_code == 2
    assert text in result.output
    assert node.sent == []


def test_send_in_json(node: FakeNode, invoke: Invoke) -> None:
    """--json gives the reply with the names of the API."""
    assert json.loads(invoke(*SEND, "--text", "Hi", "--json").output) == {
        "message_id": MESSAGE_ID,
        "state": "ACCEPTED",
        "segments": 1,
        "masked_recipient": "+49XXXXXXX5678",
    }


@pytest.mark.parametrize(("last", "code"), [(State.DELIVERED, 0), (State.UNDELIVERABLE, 1), (State.EXPIRED, 1)])
def test_follow_exits_by_the_receipt(node: FakeNode, invoke: Invoke, last: State, code: int) -> None:
    """--follow shows each state, leaves other messages out, and exits 0 for a delivered one only."""
    other = state_event(State.DELIVERED, 2, "01932c07-7d4c-7a51-8000-000000000000")
    node.watches = [[state_event(State.SUBMITTED, 1), other, state_event(last, 3)]]
    result = invoke(*SEND, "--text", "Hi", "--follow")
    assert result.exit_code == code, result.output
    accepted, *states = result.stdout.splitlines()
    assert accepted.startswith("ACCEPTED")
    assert [line.split()[1] for line in states] == ["SUBMITTED", last.name]
    assert node.watched[0].start == api.WATCH_START_NOW


def test_follow_goes_on_after_a_lost_stream(node: FakeNode, invoke: Invoke) -> None:
    """A stream that ends is taken up after the last cursor, so that nothing is missed."""
    node.watches = [[state_event(State.SUBMITTED, 1)], [state_event(State.DELIVERED, 2)]]
    result = invoke(*SEND, "--text", "Hi", "--follow")
    assert result.exit_code == 0, result.output
    assert [request.cursor for request in node.watched] == ["", "cursor-1"]
    assert "trying again" in result.stderr


def test_follow_of_a_replay_that_is_over(node: FakeNode, invoke: Invoke) -> None:
    """A key used before answers with the final state, which decides at once."""
    node.accepted.state, node.accepted.replayed = pb.MESSAGE_STATE_DELIVERED, True
    result = invoke(*SEND, "--text", "Hi", "--key", "k", "--follow")
    assert result.exit_code == 0
    assert "sent earlier" in result.output


def test_follow_gives_up_in_time(node: FakeNode, invoke: Invoke) -> None:
    """Without a final state, --timeout ends it with 1 and says how to go on."""
    result = invoke(*SEND, "--text", "Hi", "--follow", "--timeout", "1s")
    assert result.exit_code == 1
    assert "smsgw get" in result.stderr


@pytest.mark.parametrize(
    ("failure", "code", "reason"),
    [
        (errors.NotFound("no such message", reason="MESSAGE_NOT_FOUND"), 1, "MESSAGE_NOT_FOUND"),
        (errors.WrongState("too late"), 1, "WRONG_STATE"),
        (errors.InvalidRequest((errors.FieldViolation("message_id", "is wrong", "BAD_ID"),)), 2, "BAD_ID"),
        (errors.Unavailable("going down"), 3, "UNAVAILABLE"),
        (errors.Unauthenticated("who are you"), 4, "IDENTITY_REFUSED"),
        (errors.PermissionDenied("not you"), 4, "PERMISSION_DENIED"),
    ],
)
@pytest.mark.parametrize("command", ["get", "cancel", "watch"])
def test_exit_codes(node: FakeNode, invoke: Invoke, command: str, failure: Exception, code: int, reason: str) -> None:
    """A refusal exits by its kind, in text and, with the stable reason, in JSON."""
    node.failure = failure
    arguments = () if command == "watch" else (MESSAGE_ID,)
    result = invoke(command, *arguments)
    assert result.exit_code == code
    assert result.stderr.startswith("smsgw: ")
    assert json.loads(invoke(command, *arguments, "--json").stdout)["error"]["reason"] == reason


def test_overload_says_when_to_come_back(node: FakeNode, invoke: Invoke) -> None:
    """RetryInfo is told, to machines as a number."""
    node.failure = errors.Overloaded("too much", retry_after_s=2.5)
    assert "try again in 2.5 s" in invoke(*SEND, "--text", "a").stderr
    assert json.loads(invoke(*SEND, "--text", "a", "--json").stdout)["error"]["retry_after_s"] == 2.5


def test_get_shows_a_message(node: FakeNode, invoke: Invoke) -> None:
    """What is set is shown, and text of strangers cannot act on the terminal."""
    node.message.state = pb.MESSAGE_STATE_REJECTED
    node.message.carrier_message_ids.append("id\x1b[31m")
    node.message.client_reference = "\u202eref"
    node.message.reason.code = "CARRIER_REJECTED"
    node.message.reason.smpp_status = 0xB
    node.message.accepted_at.FromSeconds(1_700_000_000)
    output = invoke("get", MESSAGE_ID).output
    assert "state         REJECTED\n" in output
    assert "why           CARRIER_REJECTED, SMPP status 0x0000000b\n" in output
    assert "id\\x1b[31m" in output
    assert "\\u202eref" in output
    assert "\x1b" not in output
    assert "submitted at" not in output


def test_watch_shows_events_until_the_limit(node: FakeNode, invoke: Invoke) -> None:
    """State changes and inbound messages come as lines; the cursor to go on with is told at the end."""
    inbound = pb.Event(cursor="cursor-2")
    inbound.inbound.sender, inbound.inbound.recipient = "+4915112345678", "80800"
    inbound.inbound.text, inbound.inbound.carrier = "STOP\n\x07 👨‍👩‍👧", "acme"
    node.watches = [[state_event(State.SUBMITTED, 1), inbound, state_event(State.DELIVERED, 3)]]
    result = invoke("watch", "--from-start", "--limit", "2")
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()
    assert "SUBMITTED" in first
    assert '"STOP\\n\\x07 👨‍👩‍👧"' in second
    assert "--cursor cursor-2" in result.stderr
    assert node.watched[0].start == api.WATCH_START_OLDEST


def test_watch_in_json_has_cursors(node: FakeNode, invoke: Invoke) -> None:
    """Each line is an event with its cursor, and --cursor is handed to the node."""
    node.watches = [[state_event(State.DELIVERED, 7)]]
    (line,) = invoke("watch", "--cursor", "cursor-6", "--limit", "1", "--json").stdout.splitlines()
    event = json.loads(line)
    assert event["cursor"] == "cursor-7"
    assert event["state_change"]["state"] == "DELIVERED"
    assert node.watched[0].cursor == "cursor-6"


def test_nobody_there(site: Path, invoke: Invoke) -> None:
    """Without a node the exit code is 3, and the text names where it was looked for."""
    text = (site / "client.yaml").read_text().replace("127.0.0.1:7443", "127.0.0.1:1")
    (site / "client.yaml").write_text(text)
    result = invoke("get", MESSAGE_ID)
    assert result.exit_code == 3
    assert "no node listens at 127.0.0.1:1" in result.stderr


def test_wrong_server_name_and_bundle(node: FakeNode, invoke: Invoke, site: Path) -> None:
    """A node that cannot prove its name, or comes from another authority, is not talked to."""
    named = invoke("get", MESSAGE_ID, "--server-name", "other.example.org")
    assert (named.exit_code, "another DNS name" in named.stderr) == (3, True)
    invoke("ca", "init", "--dir", str(site / "other"), "--trust-domain", "example.org")
    trusted = invoke("get", MESSAGE_ID, "--bundle", str(site / "other/root.pem"))
    assert (trusted.exit_code, "could not prove who it is" in trusted.stderr) == (3, True)


def test_explicit_options_need_no_client_file(node: FakeNode, invoke: Invoke, site: Path) -> None:
    """With all five options given, client.yaml is not read; without it and with fewer, they are listed."""
    (site / "client.yaml").unlink()
    options = ["--target", f"127.0.0.1:{node.port}", "--server-name", "gateway.example.org"]
    options += ["--svid", str(site / "pki/demo.pem"), "--svid-key", str(site / "pki/demo.key")]
    incomplete = invoke("get", MESSAGE_ID, *options)
    assert incomplete.exit_code == 2
    assert "--bundle" in incomplete.stderr
    assert invoke("get", MESSAGE_ID, *options, "--bundle", str(site / "ca/root.pem")).exit_code == 0


def test_identity_that_cannot_be_used(node: FakeNode, invoke: Invoke, site: Path) -> None:
    """A key that others can read is refused before anything is sent, with 4."""
    (site / "pki/demo.key").chmod(0o644)
    result = invoke(*SEND, "--text", "a")
    assert result.exit_code == 4
    assert "chmod 600" in result.stderr
    assert node.sent == []


def test_wrong_client_file(invoke: Invoke, site: Path) -> None:
    """A mistake in client.yaml is told with its line."""
    (site / "client.yaml").write_text("target: 127.0.0.1:1\nservername: x\n")
    result = invoke("get", MESSAGE_ID)
    assert result.exit_code == 2
    assert "client.yaml:2: servername: is no setting; did you mean server_name?" in result.stderr


def test_strangers_text_does_not_act(node: FakeNode, invoke: Invoke) -> None:
    """What a carrier or a handset wrote drives no terminal and turns no text round, as text and as JSON."""
    evil = "\x1b[2J\x9b31m\u202eabc\u2028\r\nforged"
    inbound = pb.InboundMessage(sender=evil, recipient="12345", carrier=evil, text=evil)
    node.watches = [[pb.Event(cursor="c-1", inbound=inbound)] for _ in range(2)]
    shown = invoke("watch", "--from-start", "--limit", "1")
    printed = invoke("watch", "--from-start", "--limit", "1", "--json")
    for output in (shown.stdout, printed.stdout):
        (line,) = output.splitlines()
        assert line.isprintable()
    assert json.loads(printed.stdout)["inbound"]["text"] == evil
