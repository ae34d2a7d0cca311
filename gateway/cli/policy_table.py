"""The table of `smsgw policy test`: what is expected of a set of policies, as YAML with lines.

An expectation is one question, or every combination of the lists that it gives. What it does not say is as a node would
have it by default (one segment, a batch of one, an address that is not known); the time has to be said where a policy
about the action reads it, since a table is to hold tomorrow as well.
"""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

import dataclasses
import enum
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from gateway.api.sending import MAX_BATCH
from gateway.cli.policy_place import Place
from gateway.cli.policy_question import MAX_SEGMENTS, Asked, as_key, question_of
from gateway.config.definitions import definitions, setting
from gateway.config.errors import ConfigError
from gateway.config.kinds import NAME, SPIFFE_ID, TRUST_DOMAIN, Choice, Flag, Integer, Items, Section, Text
from gateway.config.reader import Reader, Wrong
from gateway.config.yaml_tree import read_tree
from gateway.policy.loader import Policies
from gateway.policy.requests import Question

MAX_CASES = 20_000
_WORD = Text(high=512)
_TIME = ("weekday", "minute")


class Expected(enum.StrEnum):
    """What a decision is to be."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One entry. Lists make a case of each combination; one value may stand without its brackets."""

    name: str | None = setting(Text(low=1), optional=True, doc="What it is about, for people.")
    spiffe_id: tuple[str, ...] = setting(Items(SPIFFE_ID, high=100, low=1), doc="Who asks.")
    tenant: str | None = setting(NAME, optional=True, doc="The caller's tenant. Left out: as smsgw.yaml says.")
    action: tuple[str, ...] = setting(Items(_WORD, high=100, low=1), doc="What for: SendOtp, GetMessage ...")
    sender: tuple[str, ...] = setting(Items(_WORD, high=100), doc="The message's sender.")
    to: tuple[str, ...] = setting(Items(_WORD, high=100), doc="Its recipient, in E.164.")
    to_country: tuple[str, ...] = setting(Items(_WORD, high=250), doc="Its recipient's country instead.")
    category: tuple[str, ...] = setting(Items(_WORD, high=3), doc="Its category, for UseRoute.")
    carrier: tuple[str, ...] = setting(Items(_WORD, high=100), doc="The carrier, for UseRoute.")
    address: tuple[str, ...] = setting(Items(_WORD, high=100), doc="The client's IP address.")
    at: tuple[str, ...] = setting(Items(_WORD, high=100), doc="When: 2026-11-23T21:05, in policy.timezone.")
    segments: tuple[int, ...] = setting(Items(Integer(low=1, high=MAX_SEGMENTS), high=100), doc="How long it is.")
    sealed: tuple[bool, ...] = setting(Items(Flag(), high=2), doc="Whether its content is sealed by the caller.")
    batch: tuple[int, ...] = setting(Items(Integer(low=1, high=MAX_BATCH), high=100), doc="Messages of its request.")
    expect: Expected = setting(Choice(Expected), doc="allow or deny.")
    by: str | None = setting(Text(low=1, high=63), optional=True, doc="A policy that has to be among the deciding.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """The whole file."""

    trust_domain: str | None = setting(
        TRUST_DOMAIN, optional=True, doc="The node's. Left out: as smsgw.yaml says, else that of who asks."
    )
    expectations: tuple[Expectation, ...] = setting(
        Items(Section(Expectation), high=10_000, low=1), doc="What is expected."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question with the answer that is expected. `by` is "" where any policy may decide."""

    file: Path
    line: int
    name: str
    question: Question
    home: str  # the trust domain of the node that is asked
    expect: Expected
    by: str


_LISTS = tuple(
    definition.key
    for definition in definitions(Expectation)
    if isinstance(definition.kind, Items)
)  # fmt: skip


def read_table(file: Path, place: Place, policies: Policies) -> list[Case]:
    """Return every case of a table that is asked of `policies`. Raises ConfigError with every problem."""
    reader = Reader(file)
    tree = read_tree(file)
    _bracket(tree)
    try:
        table = reader.section(TableFile, tree, "")
    except Wrong:
        raise _refusal(reader) from None
    if table.trust_domain:
        place = dataclasses.replace(place, trust_domain=table.trust_domain)
    total = sum(_combinations(expectation) for expectation in table.expectations)
    if total > MAX_CASES:
        reader.note("expectations", f"makes {total} cases; at most {MAX_CASES} are asked")
        raise _refusal(reader)
    cases: list[Case] = []
    for at, expectation in enumerate(table.expectations):
        key = f"expectations[{at}]"
        try:
            cases += _cases(expectation, file, reader.lines[key], place, policies)
        except ValueError as error:
            reader.note(key, str(error))
    if reader.problems:
        raise _refusal(reader)
    return cases


def _refusal(reader: Reader) -> ConfigError:
    return ConfigError(tuple(sorted(reader.problems, key=lambda problem: problem.line)))


def _bracket(tree: yaml.MappingNode) -> None:
    """Make a list of one value of each that stands alone where a list may stand."""
    for key, node in tree.value:
        if key.value == "expectations" and isinstance(node, yaml.SequenceNode):
            for entry in node.value:
                if isinstance(entry, yaml.MappingNode):
                    entry.value = [(name, _listed(name, value)) for name, value in entry.value]


def _listed(name: yaml.Node, value: yaml.Node) -> yaml.Node:
    if name.value in _LISTS and isinstance(value, yaml.ScalarNode):
        return yaml.SequenceNode("tag:yaml.org,2002:seq", [value], value.start_mark, value.end_mark)
    return value


def _combinations(expectation: Expectation) -> int:
    return math.prod(max(1, len(getattr(expectation, name))) for name in _LISTS)


def _cases(expectation: Expectation, file: Path, line: int, place: Place, policies: Policies) -> Iterator[Case]:
    """Yield the cases of one expectation. Raises ValueError."""
    given = {name: getattr(expectation, name) for name in _LISTS if getattr(expectation, name)}
    known = {"default-deny", *(policy.id for policy in policies.policies)}
    if expectation.by is not None and expectation.by not in known:
        raise ValueError(f"by: there is no policy {expectation.by} in the set")
    for values in itertools.product(*given.values()):
        asked = Asked(tenant=expectation.tenant or "", **dict(zip(given, values, strict=True)))
        question = question_of(asked, place, 0, as_key)
        if not asked.at and any(name in policies.reads_of[question.action] for name in _TIME):
            raise ValueError(f"say when (at): policies about {question.action} read the time")
        yield Case(
            file=file,
            line=line,
            name=expectation.name or "",
            question=question,
            home=place.home(question.spiffe_id),
            expect=expectation.expect,
            by=expectation.by or "",
        )
