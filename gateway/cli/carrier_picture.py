"""Carriers and their binds as a table, with a line below for each thing that is out of the ordinary."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.cli.manners import shown
from smsgw.v1 import carrier_service_pb2 as pb

_MODES = {
    pb.CARRIER_MODE_OPEN: ("open", "green"),
    pb.CARRIER_MODE_PAUSED: ("PAUSED", "yellow"),
    pb.CARRIER_MODE_DRAINED: ("DRAINED", "yellow"),
}
_STATES = {"bound": "green", "backoff": "red"}
_OF_CARRIER = ("CARRIER", "MODE", "WAITING", "OLDEST", "RATE", "ANSWER")
_OF_BIND = ("BIND", "STATE", "WINDOW", "STAGED", "IN DOUBT", "WHY")
_OK = "0x00000000"
_MOST_ANSWERS = 8

Cells = tuple[str | Text, ...]


def picture(carriers: Sequence[pb.Carrier]) -> RenderableType:
    """Return carriers as a table, and what there is to say of them below."""
    table = Table(*_OF_CARRIER, *_OF_BIND, box=None, pad_edge=False)
    notes: list[Text] = []
    for carrier in carriers:
        binds = [_bind(bind) for bind in carrier.binds] or [("", "no binds", "", "", "", shown(carrier.address))]
        for number, cells in enumerate(binds):
            table.add_row(*(_carrier(carrier) if not number else ("",) * len(_OF_CARRIER)), *cells)
        notes += _notes(carrier)
    return Group(table, *notes)


def _carrier(carrier: pb.Carrier) -> Cells:
    name = Text(shown(carrier.name))
    if carrier.insecure:
        name.append(" INSECURE", "red")
    trip = f"{carrier.round_trip.ToMicroseconds() / 1000:.0f} ms" if carrier.HasField("round_trip") else ""
    rate = f"{carrier.submits_per_second:.0f}/{carrier.pace:g}" if carrier.binds else ""
    return name, Text(*_MODES.get(carrier.mode, ("?", ""))), str(carrier.waiting), _age(carrier), rate, trip


def _age(carrier: pb.Carrier) -> str:
    """Return for how long the oldest of those that wait has been due."""
    if not carrier.HasField("oldest_due_at"):
        return ""
    waited = dt.datetime.now(dt.UTC) - carrier.oldest_due_at.ToDatetime(dt.UTC)
    return f"{max(0.0, waited.total_seconds()):.0f} s"


def _bind(bind: pb.CarrierBind) -> Cells:
    return (
        shown(bind.name.rpartition("/")[2]),
        Text(shown(bind.state), _STATES.get(bind.state, "")),
        f"{bind.unanswered}/{bind.window}",
        str(bind.staged),
        str(bind.in_doubt),
        shown(bind.why),
    )


def _notes(carrier: pb.Carrier) -> Iterator[Text]:
    name = shown(carrier.name)
    if carrier.held_by:
        when = f"{carrier.held_at.ToDatetime(dt.UTC).astimezone():%Y-%m-%d %H:%M:%S}"
        yield Text(f"{name}: held by {shown(carrier.held_by)} since {when}: {shown(carrier.held_because)}", "yellow")
    if carrier.breaker and carrier.breaker != "closed":
        yield Text(f"{name}: its breaker is {shown(carrier.breaker)}: it fails, and is left alone or probed", "red")
    if carrier.binds and carrier.slow_factor < 1:
        yield Text(f"{name}: congested, at {carrier.slow_factor:.0%} of its rate", "yellow")
    refused = [answer for answer in carrier.answers if answer.status != _OK]
    if refused or carrier.in_doubt_total:
        accepted = sum(answer.count for answer in carrier.answers if answer.status == _OK)
        words = [f"{accepted} accepted", *[_answer(answer) for answer in refused[:_MOST_ANSWERS]]]
        words += [f"{carrier.in_doubt_total} without an answer"] if carrier.in_doubt_total else []
        yield Text(f"{name}: {', '.join(words)}")


def _answer(answer: pb.CarrierAnswer) -> str:
    return f"{answer.count} {shown(answer.name or answer.status)}"
