"""The timelines of a few messages: each state with its time, on one line per message that grows.

Pure: it is fed what the node said, and gives lines. Times are the node's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp
from rich.text import Text

from gateway.cli.manners import shown
from gateway.cli.render import clock, is_final, reason_text, segments_text, state_text
from gateway.states import State
from smsgw.v1 import message_pb2 as pb


class _Step(NamedTuple):
    state: int
    at: Timestamp
    why: str


@dataclass(slots=True)
class Timeline:
    """One message: what it is called here, how it was accepted, and its steps."""

    label: str
    accepted: pb.AcceptedMessage
    steps: list[_Step] = field(default_factory=list)
    carrier_ids: tuple[str, ...] = ()
    trace_id: str = ""  # that its call was sent with

    def add(self, event: pb.Event) -> None:
        """Take a state change of this message."""
        change = event.state_change
        self.steps.append(_Step(change.state, event.time, reason_text(change.reason)))

    @property
    def state(self) -> int:
        """The last state known."""
        return self.steps[-1].state if self.steps else self.accepted.state

    @property
    def final(self) -> bool:
        """Whether nothing more is to come."""
        return is_final(self.state)

    @property
    def delivered(self) -> bool:
        """Whether the receipt says so."""
        return self.state == State.DELIVERED

    def head(self) -> Text:
        """Return the line that says what it is: label, masked number, segments, id."""
        words = [f"{self.label:<14}", self.accepted.masked_recipient]
        if self.accepted.HasField("segments"):
            words.append(f"{segments_text(self.accepted.segments):<10}")
        return Text("  ".join(shown(word) for word in [*words, self.accepted.message_id]))

    def track(self) -> Text:
        """Return the line of states: the first with its time of day, the others with what has passed since."""
        line = Text("  ")
        for number, step in enumerate(self.steps):
            passed = step.at.ToNanoseconds() - self.steps[0].at.ToNanoseconds()
            when = f" +{_span(passed)}" if number else f" {clock(step.at)}"
            line.append("  " if number else "").append_text(state_text(step.state)).append(when, style="dim")
            if step.why:
                line.append(f" ({shown(step.why)})", style="dim")
        return line

    def ids(self) -> Text:
        """Return the line of the carrier's ids, empty before there are any."""
        return Text(f"  carrier's ids: {', '.join(map(shown, self.carrier_ids))}" if self.carrier_ids else "", "dim")

    def lines(self) -> list[Text]:
        """Return all lines there are."""
        return [line for line in (self.head(), self.track(), self.ids()) if line.plain.strip()]


def _span(nanoseconds: int) -> str:
    milliseconds = nanoseconds / 1e6
    return f"{milliseconds / 1000:.2f} s" if milliseconds >= 1000 else f"{milliseconds:.0f} ms"
