"""The answer of `smsgw policy explain`: a decision of the engine, with the policies behind it, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.api.authorizing import call_actions
from gateway.policy.engine import Decision, Engine, Reason
from gateway.policy.lint import is_about
from gateway.policy.loader import Policies, Policy
from gateway.policy.requests import USE_ROUTE, Question
from gateway.policy.vocabulary import all_actions
from gateway.states import Category

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A decision, with the policies behind it, and with those that could have permitted it under other conditions."""

    question: Question
    decision: Decision
    deciding: tuple[Policy, ...]
    unmet: tuple[Policy, ...]

    def fields(self) -> dict[str, object]:
        """Return the answer for machines."""
        return {
            "allowed": self.decision.allowed,
            "reason": self.decision.reason.value,
            "why": self.decision.text(self.question.action),
            "policies": [policy_fields(policy) for policy in self.deciding],
            "unmet_permits": [policy_fields(policy) for policy in self.unmet],
            "errors": list(self.decision.errors),
            "question": about(self.question),
        }

    def lines(self, zone: str) -> Iterator[str]:
        """Yield the answer for people."""
        question = self.question
        yield f"{'ALLOW' if self.decision.allowed else 'DENY '}  {self.decision.text(question.action)}"
        for policy in self.deciding:
            yield f"  {policy.effect} {policy.id}  {policy.file}:{policy.line}  {policy.description}".rstrip()
        for error in self.decision.errors:
            yield f"  error: {error}"
        for policy in self.unmet:
            yield f"  not met: {policy.id}  {policy.file}:{policy.line}  {policy.description}".rstrip()
        yield f"  asked by {question.spiffe_id}, {f'tenant {question.tenant}' if question.tenant else 'an operator'}"
        time = f"{question.minute // 60:02}:{question.minute % 60:02}"
        yield f"  {''.join(_details(question))}{_DAYS[question.weekday - 1]} {time} ({zone})"


def _details(question: Question) -> Iterator[str]:
    if question.category:
        yield f"{Category(question.category).name} from {question.sender} to {question.country}, "
        yield from _measure(question)
    if question.carrier:
        yield f"by {question.carrier}, "
    if question.action != USE_ROUTE:
        yield f"client {question.address or 'not known'}, "


def _measure(question: Question) -> Iterator[str]:
    segments, sealed, batch = question.measure
    if sealed:
        yield "sealed, "
    elif segments > 1:
        yield f"{segments} segments, "
    if batch > 1:
        yield f"one of {batch}, "


def about(question: Question) -> dict[str, object]:
    """Return what a question is about, without what it leaves open."""
    asked = {**question._asdict(), **question.measure._asdict()}
    del asked["measure"]
    return {key: value for key, value in asked.items() if value not in ("", 0) or key == "minute"}


def policy_fields(policy: Policy) -> Mapping[str, object]:
    """Return a policy for machines."""
    return {
        "id": policy.id,
        "effect": policy.effect,
        "file": str(policy.file),
        "line": policy.line,
        "description": policy.description,
    }


def answer(policies: Policies, question: Question, home: str) -> Answer:
    """Return the decision of the engine, as a node of the trust domain `home` would make it, with the policies behind
    it."""
    decision = Engine(policies, home).decide(question)
    by_id = {policy.id: policy for policy in policies.policies}
    group = all_actions(call_actions())[question.action]
    unmet = []
    if decision.reason is Reason.NOT_PERMITTED:
        unmet = [policy for policy in policies.policies if policy.effect == "permit"]
    return Answer(
        question=question,
        decision=decision,
        deciding=tuple(by_id[name] for name in decision.policies if name in by_id),
        unmet=tuple(policy for policy in unmet if is_about(policy, question.action, group)),
    )
