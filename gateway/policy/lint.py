"""What a set of policies may hold and probably does not mean: hints, no faults. And which policies are about what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cedarpy import pst

from gateway.policy.errors import PolicyProblem
from gateway.policy.inputs import covers
from gateway.policy.loader import Policies, Policy
from gateway.policy.vocabulary import all_actions


def is_about(policy: Policy, action: str, group: str) -> bool:
    """Say whether a policy's scope covers `action`, which is in `group`."""
    return covers(policy.parsed, action, group)


def hints(policies: Policies, calls: Mapping[str, str]) -> Iterator[PolicyProblem]:
    """Yield what deserves a second look, in the order of the files."""
    first: dict[str, Policy] = {}
    for policy in policies.policies:
        if policy.effect == "permit" and not policy.parsed.clauses and _unlimited(policy.parsed):
            yield PolicyProblem(policy.file, policy.line, f"{policy.id} permits everything to everybody")
        if policy.effect == "forbid" and not policy.parsed.clauses and _unlimited(policy.parsed):
            yield PolicyProblem(policy.file, policy.line, f"{policy.id} forbids everything: no other policy counts")
        twin = first.setdefault(_body(policy), policy)
        if twin is not policy:
            text = f"{policy.id} says the same as {twin.id} ({twin.file.name}:{twin.line}): it changes nothing"
            yield PolicyProblem(policy.file, policy.line, text)
    permits = [policy for policy in policies.policies if policy.effect == "permit"]
    for action, group in all_actions(calls).items():
        if not any(is_about(policy, action, group) for policy in permits):
            folder = policies.policies[0].file.parent
            yield PolicyProblem(folder, 0, f"no policy permits {action}: it is always denied")


def readers(reads_of: Mapping[str, frozenset[str]]) -> dict[str, list[str]]:
    """Return the attributes of the context that decisions depend on, each with the actions that it counts for."""
    attributes = sorted(frozenset().union(*reads_of.values()))
    return {name: [action for action, reads in reads_of.items() if name in reads] for name in attributes}


def _unlimited(parsed: pst.Template) -> bool:
    scopes = (parsed.principal, parsed.action, parsed.resource)
    return all(isinstance(scope, pst.ScopeAny) for scope in scopes)


def _body(policy: Policy) -> str:
    """Return a policy without its annotations: equal for two that mean the same, word for word."""
    parsed = policy.parsed
    return repr((parsed.effect, parsed.principal, parsed.action, parsed.resource, parsed.clauses))
