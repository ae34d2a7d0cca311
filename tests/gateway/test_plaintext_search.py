"""What was sent is nowhere in the clear: not in a file, a log, an error or an export, while the node runs, after it, or
killed.

A node, a simulated carrier whose receipts quote what they report on, a collector that gets every span and metric, and
traffic that provokes every error there is. Each phase leaves places behind; each is searched for each needle in each
form (tests.plaintext). To search more, add a function to `COLLECTORS`.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import apsw
import grpc
import pytest
import yaml
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics, ScopeMetrics
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from gateway.status_socket import read_status
from smsgw.v1 import message_pb2 as m
from smsgw.v1 import message_service_pb2 as s
from tests.appliance import SERVER_NAME, SMSGW, TENANT, Appliance, CarrierSpec, Running, run
from tests.gateway.plaintext_exports import Exports, collecting
from tests.gateway.plaintext_sealed import sealed_messages, write_payload_keys
from tests.gateway.plaintext_traffic import (
    NEEDLES,
    NOBODYS,
    SHORT_CODE,
    TEXTS,
    Client,
    good_messages,
    message,
    number,
)
from tests.plaintext import Leak, Place, Search, files_of

SEARCH = Search(NEEDLES)
_WAIT_S = 30.0
_SCRIPT = f"""\
responses: {{delay_s: 0.01}}
errors:
  - {{destination_suffix: "77", status: ESME_RINVDSTADR}}
  - {{text: "{TEXTS["text in GSM"]}", status: ESME_RSYSERR, times: 1}}
receipts:
  delay_s: 0.02
  form: text
  rules:
    - {{destination_suffix: "88", state: UNDELIV, error: "001"}}
"""
_POLICY = """\
@id("not-to-france")
@description("The test denies one country.")
forbid (principal, action in Action::"send", resource) when { context.country == "FR" };
"""


@dataclass(kw_only=True)
class Evidence:
    """A site and what a phase of its life has left."""

    appliance: Appliance
    refusals: list[Place] = field(default_factory=list)
    spoken: list[Place] = field(default_factory=list)  # standard output, status, the audit, what operators are shown
    admin: str = ""  # where operators call, of the node that runs
    exports: Exports = field(default_factory=Exports)
    leaks: dict[str, list[Leak]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    codes: set[grpc.StatusCode] = field(default_factory=set)

    @property
    def folder(self) -> Path:
        """The site's folder."""
        return self.appliance.folder

    @property
    def log(self) -> str:
        """The node's log so far."""
        return (self.folder / "node.log").read_text()

    def collect(self, phase: str) -> None:
        """Search everything there is now."""
        places = [place for collector in COLLECTORS for place in collector(self)]
        self.leaks[phase] = SEARCH.leaks(places)
        self.sizes |= {f"{phase}: {place.name}": len(place.octets) for place in places}


def _data(evidence: Evidence) -> Iterator[Place]:
    yield from files_of(evidence.folder / "data")


def _temporary(evidence: Evidence) -> Iterator[Place]:
    yield from files_of(evidence.folder / "tmp")


def _logs(evidence: Evidence) -> Iterator[Place]:
    yield Place("node.log", (evidence.folder / "node.log").read_bytes())


def _said(evidence: Evidence) -> Iterator[Place]:
    yield from evidence.refusals
    yield from evidence.spoken


def _spans(evidence: Evidence) -> Iterator[Place]:
    yield from evidence.exports.spans()


def _metrics(evidence: Evidence) -> Iterator[Place]:
    yield from evidence.exports.metrics()


def _page(evidence: Evidence) -> Iterator[Place]:
    yield from evidence.exports.page()


COLLECTORS: list[Callable[[Evidence], Iterator[Place]]] = [_data, _temporary, _logs, _said, _spans, _metrics, _page]


class Carrier:
    """The simulated carrier. Its own log, outside of the searched places, says what it was sent."""

    def __init__(self, folder: Path, port: int, control: int) -> None:
        self.port = port
        self._control = control
        self.log = folder / "arrived.tsv"

    def command(self, **command: object) -> dict[str, object]:
        """Give an order; the answer."""
        with socket.create_connection(("127.0.0.1", self._control), timeout=_WAIT_S) as connection:
            stream = connection.makefile("rw")
            stream.readline()
            stream.write(json.dumps(command) + "\n")
            stream.flush()
            answer: dict[str, object] = json.loads(stream.readline())
        assert "error" not in answer, answer
        return answer

    def inbound(self, handset: str, to: str, text: str) -> None:
        """A handset writes."""
        self.command(inbound={"from": number(handset), "to": to, "text": text})


@contextlib.contextmanager
def carrier(appliance: Appliance) -> Iterator[Carrier]:
    """Run the carrier."""
    folder = appliance.folder
    (folder / "carrier.yaml").write_text(_SCRIPT)
    keys = ("--cert", str(appliance.carrier_certificate), "--key", str(appliance.carrier_key))
    options = ("--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--quiet", "--log", str(folder / "arrived.tsv"))
    command = [SMSGW, "simulator", *keys, *options, "--script", str(folder / "carrier.yaml")]
    with Running(command, log=folder / "simulator.log") as process:
        ready = process.line_with(r"127\.0\.0\.1:(\d+).*control 127\.0\.0\.1:(\d+)")
        yield Carrier(folder, int(ready.group(1)), int(ready.group(2)))


@contextlib.contextmanager
def node(evidence: Evidence) -> Iterator[tuple[Running, Client]]:
    """Run the node with a folder of its own for temporary files; it, and a caller."""
    folder, temporary = evidence.folder, evidence.folder / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = {"TMPDIR": str(temporary), "SQLITE_TMPDIR": str(temporary)}
    command = evidence.appliance.serve_command()
    with Running(command, log=folder / "node.log", environment=environment) as process:
        line = process.line_with(r"127\.0\.0\.1:(\d+)")
        evidence.spoken.append(Place("the ready line", line.string.encode()))
        evidence.admin = f"127.0.0.1:{line.string.partition('admin 127.0.0.1:')[2].partition(',')[0]}"
        client = Client(int(line.group(1)), evidence.appliance.callers[0])
        try:
            yield process, client
        finally:
            client.channel.close()
            evidence.refusals += client.refusals


def site(appliance: Appliance, port: int, telemetry: dict[str, object], exports: Exports) -> Evidence:
    """Make a site that logs and exports everything, with a policy of the test; its carrier is on `port`."""
    spec = CarrierSpec(port=port, ca_file=appliance.carrier_ca)
    file = appliance.configure(spec, inbound_numbers=[SHORT_CODE])
    document = yaml.safe_load(file.read_text())
    document |= {"log": {"level": "debug"}, "telemetry": telemetry, "admin": {"listen": "127.0.0.1:0"}}
    document["payload"] = write_payload_keys(appliance.folder)
    document["limits"] = {"messages_per_recipient_burst": 10_000}  # the same few numbers, again and again
    file.write_text(yaml.safe_dump(document))
    policy = appliance.folder / "policy" / "90-test.cedar"
    policy.touch(mode=0o600)
    policy.write_text(_POLICY)
    return Evidence(appliance=appliance, exports=exports)


def follow(client: Client, cursor: str, enough: Callable[[list[m.Event]], bool]) -> list[m.Event]:
    """Return the events after `cursor`, as soon as they are enough."""
    seen: list[m.Event] = []
    call = client.stub.WatchEvents(s.WatchEventsRequest(cursor=cursor), timeout=_WAIT_S)
    for response in call:
        seen += response.events
        if enough(seen):
            call.cancel()
            return seen
    raise AssertionError(f"the stream of events ended early, after {len(seen)}")


def final(ids: list[str]) -> Callable[[list[m.Event]], bool]:
    """Return a condition: all of `ids` have ended, and three inbound messages have come."""
    ends = {m.MESSAGE_STATE_DELIVERED, m.MESSAGE_STATE_UNDELIVERABLE, m.MESSAGE_STATE_REJECTED}

    def enough(events: list[m.Event]) -> bool:
        ended = {event.state_change.message_id for event in events if event.state_change.state in ends}
        return ended >= set(ids) and sum(event.HasField("inbound") for event in events) >= 3

    return enough


def start_of_events(client: Client) -> str:
    """Return where the log of events stands."""
    call = client.stub.WatchEvents(s.WatchEventsRequest(start=s.WATCH_START_NOW), timeout=_WAIT_S)
    cursor: str = next(iter(call)).cursor
    call.cancel()
    return cursor


def work(evidence: Evidence, smsc: Carrier) -> list[str]:
    """Phase one: everything goes its way, and everything that can be refused is refused."""
    with node(evidence) as (process, client), tracing(evidence):
        cursor = start_of_events(client)
        ids = client.send([*good_messages(), *sealed_messages()])
        smsc.inbound("handset", SHORT_CODE, TEXTS["inbound text"])
        smsc.inbound("handset", SHORT_CODE, f"{TEXTS['long inbound text']} " * 9)
        smsc.inbound("handset", SHORT_CODE, TEXTS["inbound text in UCS-2"])
        smsc.inbound("handset that writes to nobody", NOBODYS, TEXTS["text to nobody"])
        follow(client, cursor, final(ids))
        evidence.codes = client.provoke()
        client.stub.ListMessages(s.ListMessagesRequest(recipient=number("recipient looked up")), timeout=_WAIT_S)
        listed = client.stub.ListMessages(s.ListMessagesRequest(), timeout=_WAIT_S)
        assert {found.labels[TEXTS["label's name"]] for found in listed.messages} == {TEXTS["label"]}
        evidence.spoken += [_status(evidence), _audit(evidence), *_shown_to_operators(evidence)]
        evidence.refusals += client.refusals
        evidence.collect("running")
        smsc.command(disconnect=True)
        assert process.end() == 0
    evidence.collect("stopped")
    return ids


def operator_options(evidence: Evidence) -> list[str]:
    """Return how a command calls the node as an operator."""
    pki = evidence.folder / "pki"
    return [
        "--target", evidence.admin, "--server-name", SERVER_NAME, "--bundle", str(pki / "bundle.pem"),
        "--svid", str(pki / "operator.pem"), "--svid-key", str(pki / "operator.key"), "--json",
    ]  # fmt: skip


@contextlib.contextmanager
def tracing(evidence: Evidence) -> Iterator[None]:
    """Trace the carrier's PDUs meanwhile."""
    out = evidence.folder.parent / "trace.pcap"
    command = [SMSGW, "carrier", "trace", "carrier", "--for", "10m", "--out", str(out), "--reason", "a search"]
    with Running([*command, *operator_options(evidence)], log=evidence.folder.parent / "trace.log") as trace:
        deadline = time.monotonic() + _WAIT_S
        while not (out.exists() and out.stat().st_size):  # it has begun
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield
        trace.end(signal.SIGINT)
    evidence.spoken.append(Place("a trace", out.read_bytes()))


def _shown_to_operators(evidence: Evidence) -> list[Place]:
    options = operator_options(evidence)
    commands = (
        ("find", "--tenant", TENANT),
        ("find", "--recipient", number("recipient in Germany")),
        ("carrier", "status"),
        ("queues",),
    )
    return [Place(" ".join(command[:2]), run(*command, *options).encode()) for command in commands]


def _status(evidence: Evidence) -> Place:
    return Place("status", json.dumps(read_status(evidence.folder / "data" / "status.sock")).encode())


def _audit(evidence: Evidence) -> Place:
    """Return all records, as they are shown; the rows themselves are in the database."""
    config = str(evidence.folder / "smsgw.yaml")
    return Place("the audit", run("audit", "tail", "--since", "1", "--json", "--config", config).encode())


def die(evidence: Evidence) -> list[str]:
    """Phase two: killed in the middle of it, with messages that wait and one that is on its way."""
    with node(evidence) as (process, client):
        later = {"not_before": _in_an_hour()}
        ids = client.send([message("recipient waiting", "text waiting", **later) for _ in range(20)])
        client.send([message("recipient in Germany", "text in GSM") for _ in range(20)])
        process.end(signal.SIGKILL)
    evidence.collect("killed")
    return ids


def _in_an_hour() -> dict[str, int]:
    return {"seconds": int(time.time()) + 3600}


def suffer(evidence: Evidence, ids: list[str]) -> None:
    """Phase three: a row is damaged, then all keys are gone, and both are asked for. The damage is a number that no
    answer can hold, so that the error's own words say it: the log has only what redaction leaves of them."""
    wrong = int(number("recipient in Brazil"))
    change(evidence, "UPDATE message SET segments = ? WHERE id = ?", wrong, bytes.fromhex(ids[0].replace("-", "")))
    damaged, lost = (s.GetMessageRequest(message_id=message_id) for message_id in ids[:2])
    with node(evidence) as (process, client):
        evidence.codes.add(client.refused("a damaged row", partial(client.stub.GetMessage, damaged, timeout=_WAIT_S)))
        assert process.end() == 0
    change(evidence, "UPDATE message SET due_at = 0 WHERE queue < 20")  # what waits is sent now, or tried to be
    shutil.rmtree(evidence.folder / "data" / "keys-wrapped")
    oldest = s.WatchEventsRequest(start=s.WATCH_START_OLDEST)
    evidence.exports.receiver.failure = grpc.StatusCode.UNAVAILABLE  # and nobody is there to be exported to
    with node(evidence) as (process, client):
        row = client.answered("a row without its key", partial(client.stub.GetMessage, lost, timeout=_WAIT_S))
        assert row.message.unreadable
        calls: dict[str, Callable[[], object]] = {
            "a list with the damaged row": partial(client.stub.ListMessages, s.ListMessagesRequest(), timeout=_WAIT_S),
            "a watch without keys": lambda: list(client.stub.WatchEvents(oldest, timeout=_WAIT_S)),
        }
        evidence.codes |= {client.refused(name, call) for name, call in calls.items()}
        _until(lambda: "message_unsendable" in evidence.log and "telemetry_not_exported" in evidence.log)
        assert process.end() == 0
    evidence.collect("damaged")


def change(evidence: Evidence, statement: str, *bindings: bytes | int) -> None:
    """Change the database of a node that does not run."""
    database = apsw.Connection(str(evidence.folder / "data" / "smsgw.db"))
    database.execute(statement, bindings)
    database.close()


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not done():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    """Live through all phases once."""
    folder = tmp_path_factory.mktemp("searched")
    appliance = Appliance.create(folder / "site", operator=True)
    with carrier(appliance) as smsc, collecting(folder / "collector") as (exports, telemetry):
        made = site(appliance, smsc.port, telemetry, exports)
        ids = work(made, smsc)
        die(made)
        suffer(made, ids)
        yield made


@pytest.mark.parametrize("phase", ["running", "stopped", "killed", "damaged"])
def test_nothing_in_the_clear(evidence: Evidence, phase: str) -> None:
    """No needle, in any form, in any place that the phase left."""
    assert [str(leak) for leak in evidence.leaks[phase]] == []


def test_everything_went_its_way(evidence: Evidence) -> None:
    """The search had something to miss: the carrier got every number and text that it was meant to get."""
    arrived = (evidence.folder / "arrived.tsv").read_text()
    texts = ["text in GSM", "text in UCS-2", "long text", "text with umlauts", "sealed text"]
    assert [name for name in texts if TEXTS[name] not in arrived] == []
    assert number("recipient in Brazil")[1:] in arrived
    assert arrived.count(TEXTS["sealed text"]) == 2  # by each kind of key
    assert TEXTS["stolen text"] not in arrived
    assert number("recipient that steals")[1:] not in arrived
    assert "SEALED_FOR_OTHER_RECIPIENT" in evidence.log
    assert SEARCH.leaks([Place("arrived.tsv", arrived.encode())])


def test_places_are_full(evidence: Evidence) -> None:
    """The database, its log with what was not yet moved over, wrapped keys, the audit as it is shown, and a log of some
    length were searched."""
    sizes = evidence.sizes
    assert sizes["running: data/smsgw.db"] + sizes["running: data/smsgw.db-wal"] > 100_000
    assert sizes["killed: data/smsgw.db-wal"] > 10_000
    assert [name for name in sizes if re.fullmatch(r"killed: data/keys-wrapped/.*\.keys", name)]
    assert sizes["running: node.log"] > 1_000
    assert sizes["running: status"] > 100
    assert sizes["running: the audit"] > 10_000
    assert sizes["running: find --tenant"] > 1_000
    assert sizes["stopped: a trace"] > 1_000


def test_everything_was_exported(evidence: Evidence) -> None:
    """The collector had each step of a message, and failed calls; both exporters had the metrics of what happened."""
    spans = evidence.exports.receiver.spans
    steps = {span.name.split()[0] for span in spans}
    assert steps >= {"smsgw.v1.MessageService/SendMessage", "seal", "process", "send", "receipt"}, steps
    assert any(span.status.code == span.status.STATUS_CODE_ERROR for span in spans)
    assert "smsgw.messages.ended" in evidence.exports.receiver.metrics
    assert evidence.sizes["stopped: exported spans"] > 10_000
    assert evidence.sizes["stopped: exported metrics"] > 1_000
    assert b'smsgw_denials_total{reason="POLICY_DENIED"}' in b"".join(evidence.exports.pages)


def test_errors_were_provoked(evidence: Evidence) -> None:
    """Every kind of refusal came, and an unexpected error with its traceback was logged."""
    wanted = "INVALID_ARGUMENT PERMISSION_DENIED ALREADY_EXISTS UNIMPLEMENTED DEADLINE_EXCEEDED INTERNAL"
    assert {code.name for code in evidence.codes} >= set(wanted.split())
    assert "Traceback" in evidence.log
    assert "inbound_without_owner" in evidence.log


@pytest.mark.parametrize("collector", COLLECTORS, ids=lambda collector: collector.__name__)
def test_planted_is_found(tmp_path: Path, collector: Callable[[Evidence], Iterator[Place]]) -> None:
    """Each collector gives what is planted in its places to the search."""
    made = Evidence(appliance=Appliance(folder=tmp_path))
    for name in ("data", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "node.log").touch()
    assert SEARCH.leaks(collector(made)) == []
    planted = f"x{NEEDLES['handset']}"
    (tmp_path / "data" / "smsgw.db-journal").write_text(planted)
    (tmp_path / "tmp" / "etilqs_1").write_text(planted)
    (tmp_path / "node.log").write_text(planted)
    made.refusals.append(Place("a refusal", planted.encode()))
    made.exports.pages.append(planted.encode())
    span = Span(attributes=[KeyValue(key="x", value=AnyValue(string_value=planted))])
    scope = ScopeSpans(spans=[span])
    made.exports.receiver.requests.append(
        ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[scope])])
    )
    metrics = ScopeMetrics(metrics=[Metric(name=planted)])
    made.exports.receiver.metric_requests.append(
        ExportMetricsServiceRequest(resource_metrics=[ResourceMetrics(scope_metrics=[metrics])])
    )
    assert SEARCH.leaks(collector(made))
