"""The spans of one sampled message on its way: into the store, to a carrier, and back with its receipt.

    send LANE               PRODUCER   the message's own span; its context is stored with the message
    ├─ seal                            ids, sealing and hashing of the batch it came in
    ├─ store accept                    until the batch is on disk
    ├─ process LANE         CONSUMER   one attempt, which may be in another process, hours later
    │  ├─ store sending                SENDING is on disk before anything is written
    │  ├─ encode                       opened, and put into PDUs
    │  ├─ submit_sm CARRIER CLIENT     until the carrier has answered every part
    │  └─ store settle                 what became of it is on disk
    └─ receipt CARRIER      CONSUMER   from the deliver_sm until its effect is on disk

Objects of these classes exist for sampled messages only: everyone else sees None. Times are microseconds since the Unix
epoch, and come from the pipeline's own clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanContext, SpanKind, Tracer

from carrier.smpp.constants import status_name
from gateway.ids import to_text
from gateway.states import PartState
from gateway.store.contract import Accepted, NewMessage, Settlement, TracedReceipt, Waiting
from gateway.telemetry import spans
from gateway.telemetry.context import current_span, pack, unpack
from gateway.telemetry.meters import category_name, state_name

Now = Callable[[], int]

_PART_STATES = {part.value: part.name for part in PartState}


def _lane(category: int) -> str:
    return category_name(category).lower()


def _messaging(operation: str, kind: str, category: int) -> dict[str, spans.Value]:
    return {
        spans.MESSAGING_SYSTEM: spans.SYSTEM,
        spans.OPERATION_NAME: operation,
        spans.OPERATION_TYPE: kind,
        spans.DESTINATION: _lane(category),
    }


def _smpp(pdu: str, carrier: str) -> dict[str, spans.Value]:
    return {
        spans.PROTOCOL: "smpp",
        spans.PROTOCOL_VERSION: "3.4",
        spans.SMPP_PDU: pdu,
        spans.SMPP_CARRIER: carrier,
    }


class Acceptance:
    """The sampled messages of one `accept`."""

    def __init__(
        self,
        tracer: Tracer,
        now: Now,
        chosen: Sequence[int],
        *,
        below: SpanContext | None,
        link: SpanContext | None,
    ) -> None:
        """`chosen`: their places in the batch. `below`: the span they belong to, None for a trace of each one's own,
        which `link` then ties to the call."""
        self._tracer = tracer
        self._now = now
        self._chosen = chosen
        self._below = below
        self._links = () if link is None else (link,)
        self._spans: list[Span] = []
        self._began = self._sealed = now()
        self._rows = 0

    def begin(self, batch: list[NewMessage]) -> None:
        """Begin their spans, and put their contexts into the messages, which have just been sealed."""
        self._sealed = self._now()
        self._rows = len(batch)
        for place in self._chosen:
            message = batch[place]
            attributes = _messaging("send", "send", message.category)
            attributes |= {
                spans.MESSAGE_ID: to_text(message.id),
                spans.TENANT: message.tenant,
                spans.SEGMENTS: message.segments,
            }
            if self._rows > 1:
                attributes[spans.BATCH_COUNT] = self._rows
            span = spans.begin(
                self._tracer,
                f"send {_lane(message.category)}",
                SpanKind.PRODUCER,
                self._began,
                below=self._below,
                links=self._links,
                attributes=attributes,
            )
            spans.step(self._tracer, "seal", span, self._began, self._sealed)
            self._spans.append(span)
            batch[place] = message._replace(trace=pack(spans.address(span)))

    def committed(self, answers: Sequence[Accepted]) -> None:
        """The batch is on disk: end the spans. A message that was stored before is named by that one's id."""
        now = self._now()
        for place, span in zip(self._chosen, self._spans, strict=True):
            answer = answers[place]
            spans.commit(self._tracer, "accept", self._rows, span, self._sealed, now)
            span.set_attribute(spans.VERDICT, answer.verdict.name)
            span.set_attribute(spans.MESSAGE_ID, to_text(answer.id))
            span.end(now * 1000)

    def failed(self, error: BaseException) -> None:
        """Nothing was stored: end the spans so."""
        now, kind = self._now(), type(error).__name__
        for span in self._spans:
            spans.commit(self._tracer, "accept", self._rows, span, self._sealed, now, kind)
            spans.fail(span, kind)
            span.end(now * 1000)
        self._spans.clear()


class AttemptTrace:
    """One attempt to send a sampled message. It ends by `recorded`, whatever came before."""

    def __init__(self, tracer: Tracer, now: Now, message: Waiting, below: SpanContext, began: int, rows: int) -> None:
        """SENDING is on disk now, together with that of `rows` messages; that began at `began`."""
        self._tracer = tracer
        self._now = now
        attributes = _messaging("process", "process", message.category)
        attributes |= {
            spans.MESSAGE_ID: to_text(message.id),
            spans.TENANT: message.tenant,
            spans.ATTEMPT: message.attempts + 1,
        }
        name = f"process {_lane(message.category)}"
        self._span = spans.begin(tracer, name, SpanKind.CONSUMER, began, below=below, attributes=attributes)
        self._at = now()
        self._submit: Span | None = None
        spans.commit(tracer, "sending", rows, self._span, began, self._at)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make this the span that log lines name."""
        token = current_span.set(spans.address(self._span))
        try:
            yield
        finally:
            current_span.reset(token)

    def encoded(self, carrier: str, link: str, parts: int, sent: int) -> None:
        """It is in PDUs, which go to the link now: `sent` of `parts`, since the others were answered before."""
        now = self._now()
        spans.step(self._tracer, "encode", self._span, self._at, now)
        attributes = _smpp("submit_sm", carrier)
        attributes |= {spans.SMPP_LINK: link, spans.SMPP_PARTS: parts, spans.SMPP_PARTS_SENT: sent}
        self._submit = spans.begin(
            self._tracer,
            f"submit_sm {carrier}",
            SpanKind.CLIENT,
            now,
            below=self._span.get_span_context(),
            attributes=attributes,
        )
        self._at = now

    def unsendable(self, reason: str) -> None:
        """It could not be put into PDUs."""
        now = self._now()
        spans.step(self._tracer, "encode", self._span, self._at, now, error=reason)
        spans.fail(self._span, reason)
        self._at = now

    def answered(self, status: int | None, error: str) -> None:
        """Every part has its outcome. `status`: the command_status that decides, None without an answer; `error`: what
        kind of failure that was, "" for none."""
        self._at = self._now()
        if self._submit is None:
            return
        if status is not None:
            self._submit.set_attribute(spans.SMPP_STATUS, status_name(status))
        if error:
            spans.fail(self._submit, error)
        self._submit.end(self._at * 1000)

    def recorded(self, settlement: Settlement, rows: int) -> None:
        """What became of it is on disk, together with `rows` others."""
        now = self._now()
        spans.commit(self._tracer, "settle", rows, self._span, self._at, now)
        self._span.set_attribute(spans.STATE, state_name(settlement.state))
        if settlement.reason_code:
            self._span.set_attribute(spans.REASON, settlement.reason_code)
        self._span.end(now * 1000)


def receipt_span(tracer: Tracer, receipt: TracedReceipt, now: int) -> None:
    """Add the span of a receipt whose effect is on disk now, to the trace that its message was accepted under."""
    context = unpack(receipt.trace)
    if context is None:
        return
    attributes = _smpp("deliver_sm", receipt.carrier)
    attributes |= {
        spans.MESSAGING_SYSTEM: spans.SYSTEM,
        spans.OPERATION_NAME: "receipt",
        spans.OPERATION_TYPE: "process",
        spans.PART_STATE: _PART_STATES.get(receipt.part_state, "UNKNOWN"),
        spans.STATE: state_name(receipt.state),
    }
    name = f"receipt {receipt.carrier}"
    below = spans.remote(context)
    span = spans.begin(tracer, name, SpanKind.CONSUMER, receipt.at, below=below, attributes=attributes)
    span.end(max(now, receipt.at) * 1000)
