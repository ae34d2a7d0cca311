"""Answers which carrier a message would go by, and why: from the state of a running node, or without one.

What is asked may be about anybody's number: nothing of it is kept or logged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from carrier.errors import TextError
from carrier.profile import CarrierProfile
from carrier.text.writing import TextWriter
from gateway.countries import country_of
from gateway.pipeline.holds import Holds
from gateway.pipeline.router import Router
from gateway.policy.authorizer import Authorizer
from gateway.routing.explaining import Explanation, Hindrance, Look, Sight, Verdict, explain
from gateway.routing.routes import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A message that might be sent."""

    recipient: str  # E.164
    category: int
    tenant: str
    owner: str  # the SPIFFE ID of who sends it
    sender: str
    text: str = ""
    message_id: bytes = b""  # of one that there is: its own order


class Explainer:
    """Explains; belongs to one event loop."""

    def __init__(
        self,
        *,
        router: Router,
        authorizer: Authorizer,
        profiles: Sequence[CarrierProfile],
        holds: Holds,
        running: bool,
    ) -> None:
        """`running`: the router knows links, switches and breakers; otherwise only hours and policies count."""
        self.router = router
        self._holds = holds
        self.running = running
        self._authorizer = authorizer
        self.use(profiles)

    def use(self, profiles: Sequence[CarrierProfile]) -> None:
        """Count segments, and tell of plain text, by these profiles from now on."""
        self._plain = frozenset(profile.name for profile in profiles if profile.tls is None)
        self._texts = {profile.name: profile.text for profile in profiles}

    def answer(self, asked: Asked, now: int) -> dict[str, object]:
        """Return the answer, ready for JSON; `now` in microseconds since the Unix epoch."""
        country = country_of(asked.recipient)
        table = self.router.table
        prefix = table.prefix_of(asked.recipient)
        found = table.find((asked.tenant, asked.sender, asked.category, country, prefix))
        head: dict[str, object] = {"running": self.running, "country": country, "tenant": asked.tenant}
        if found is None:
            why = "no route fits: such a message is rejected (NO_ROUTE)"
            return head | {"route": None, "carrier": None, "why": why, "targets": []}
        told = explain(found, prefix, country, self._look(asked, country, now), asked.message_id)
        targets = [self._target(verdict, asked) for verdict in told.verdicts]
        why = told.why if told.carrier else f"{told.why}; {_nothing_can(told)}"
        who = (asked.tenant, asked.category, "", b"", asked.owner, asked.message_id)
        held = any(hold.covers(*who) for hold in self._holds.selections)
        return head | {
            "held": held,
            "route": told.route,
            "strategy": told.strategy,
            "carrier": told.carrier or None,
            "why": why,
            "targets": targets,
        }

    def _look(self, asked: Asked, country: str, now: int) -> Look:
        def look(target: Target) -> Sight:
            hindrances = list(self.router.hindrances(target, now, links=self.running))
            notes = list(self.router.notes(target)) if self.running else []
            sender = target.told(asked.sender)
            decide = self._authorizer.routing(target.carrier, now).decide
            segments = self._segments(target.carrier, asked.text)
            decision = decide(asked.tenant, asked.owner, sender, asked.category, country, segments)
            told = decision.text(f"the carrier {target.carrier}")
            if decision.allowed:
                notes.append(told)
            else:
                hindrances.append(Hindrance("POLICY_DENIED", told))
            return Sight(hindrances, notes)

        return look

    def _target(self, verdict: Verdict, asked: Asked) -> dict[str, object]:
        target = verdict.target
        sender = target.told(asked.sender)
        found: dict[str, object] = {
            "carrier": target.carrier,
            "share": round(verdict.share, 4),
            "priority": target.priority,
            "weight": target.weight,
            "cost": target.cost,
            "sender": sender,
            "rewritten": sender != asked.sender,
            "insecure": target.carrier in self._plain,
            "hindrances": [hindrance._asdict() for hindrance in verdict.hindrances],
            "notes": list(verdict.notes),
        }
        if asked.text:
            found["content"] = self._content(target.carrier, asked.text)
        return found

    def _segments(self, carrier: str, text: str) -> int:
        """Return what a text takes at a carrier; one that is not told, or cannot be written, counts as one segment."""
        try:
            return TextWriter(self._texts[carrier]).count(text)[1] if text else 1
        except TextError:
            return 1

    def _content(self, carrier: str, text: str) -> dict[str, object]:
        try:
            encoding, segments = TextWriter(self._texts[carrier]).count(text)
        except TextError as error:
            return {"error": str(error)}
        return {"encoding": encoding.name, "segments": segments}


def _nothing_can(told: Explanation) -> str:
    codes = [{hindrance.code for hindrance in verdict.hindrances} for verdict in told.verdicts]
    if all("POLICY_DENIED" in found for found in codes):
        return "policies permit none of its carriers: such a message is rejected (POLICY_DENIED)"
    return "none of its carriers can take it at the moment: it waits"


def lines(answer: Mapping[str, object]) -> Sequence[str]:
    """Return an answer as lines for people."""
    told = [f"{answer['carrier'] or 'NONE'}  {answer['why']}"]
    if answer["route"]:
        told.append(f"  route {answer['route']}, {answer['strategy']}")
    elif answer["route"] is not None:
        told.append(f"  {answer['strategy']}")
    targets = answer["targets"]
    for target in targets if isinstance(targets, list) else ():
        told += _target_lines(target)
    if answer.get("held"):
        told.append("  held: an operator has paused such messages, and they wait until `smsgw resume`")
    told.append(f"  to {answer['country']}, tenant {answer['tenant']}")
    if not answer["running"]:
        told.append("  from the configuration alone, as if every link were up: no node is running here")
    return told


def _target_lines(target: Mapping[str, object]) -> list[str]:
    share = f"{float(str(target['share'])):.0%}"
    rewritten = f", as {target['sender']}" if target["rewritten"] else ""
    plain = ", in plain text (insecure: true)" if target["insecure"] else ""
    facts = f"priority {target['priority']}, weight {target['weight']}, cost {target['cost']:g}"
    told = [f"  {share:>4}  {target['carrier']}  ({facts}{rewritten}{plain})"]
    content = target.get("content")
    if isinstance(content, Mapping):
        segments = "1 segment" if content.get("segments") == 1 else f"{content.get('segments')} segments"
        words = content.get("error") or f"{content['encoding']}, {segments}"
        told.append(f"        {words}")
    hindrances = target["hindrances"]
    if isinstance(hindrances, list):
        told += [f"        not now: {hindrance['text']}  [{hindrance['code']}]" for hindrance in hindrances]
    notes = target["notes"]
    told += [f"        {note}" for note in notes] if isinstance(notes, list) else []
    return told
