"""From a folder to one validated set of policies, or to everything that is wrong with it.

A folder holds policies, `*.cedar`, in the order of their names; other files and hidden ones are left alone. A set is
refused as a whole when a policy cannot be parsed, does not fit the schema of this version (`gateway.policy.schema`), or
has no `@id` of its own: a denial names the policy.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cedarpy
from cedarpy import PolicySet, Schema, pst

from gateway.policy.default_set import POLICY_SUFFIX
from gateway.policy.errors import PoliciesRefused, PolicyProblem
from gateway.policy.inputs import reads_by_action
from gateway.policy.schema import cedar_schema
from gateway.policy.statements import Statement, line_of, split

MAX_FILE_BYTES = 1 << 20
MAX_FILES = 256
MAX_POLICIES = 10_000
RESERVED_IDS = frozenset({"default-deny"})

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One policy: its id, where it stands, and its text. `effect` is `permit` or `forbid`."""

    id: str
    file: Path
    line: int
    effect: str
    description: str  # its @description, for people
    text: str
    parsed: pst.Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """A validated set. `handle` and `schema` are Cedar's parsed forms; policy n of the handle is `policies[n]`."""

    policies: tuple[Policy, ...]
    handle: PolicySet
    schema: Schema
    reads_of: Mapping[str, frozenset[str]]  # by action: the attributes of the context that decisions can depend on
    digest: str  # SHA-256 over names and contents of the files, hexadecimal: the epoch of the decisions made with it

    @property
    def reads(self) -> frozenset[str]:
        """The attributes of the context that any decision can depend on."""
        return frozenset().union(*self.reads_of.values())


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    text: str


def load_policies(folder: Path, actions: Mapping[str, str]) -> Policies:
    """Return the policies in `folder`. Raises PoliciesRefused with every problem found.

    `actions` maps each action that is asked about for calls to the group that it is in.
    """
    files = _read(folder)
    schema = Schema.from_str(cedar_schema(actions))
    problems: list[PolicyProblem] = []
    policies = [policy for file in files for policy in _parse(file, problems)]
    _check_ids(policies, problems)
    if len(policies) > MAX_POLICIES:
        problems.append(PolicyProblem(folder, 0, f"holds {len(policies)} policies; at most {MAX_POLICIES} are taken"))
    if not problems:
        _validate(policies, schema, problems)
    _refuse(problems)
    return Policies(
        policies=tuple(policies),
        handle=_together(policies),
        schema=schema,
        reads_of=reads_by_action([policy.parsed for policy in policies], actions),
        digest=_digest(files),
    )


def digest_of(folder: Path) -> str:
    """Return the digest of the files that are in `folder` now. Raises PoliciesRefused when they cannot be read."""
    return _digest(_read(folder))


def _refuse(problems: Sequence[PolicyProblem]) -> None:
    if problems:
        raise PoliciesRefused(tuple(sorted(problems, key=lambda problem: (str(problem.file), problem.line))))


def _read(folder: Path) -> list[_File]:
    try:
        names = sorted(
            entry for entry in folder.iterdir() if entry.suffix == POLICY_SUFFIX and not entry.name.startswith(".")
        )
    except FileNotFoundError:
        text = "there is no such folder; `smsgw policy init` writes one with the default policies"
        raise PoliciesRefused((PolicyProblem(folder, 0, text),)) from None
    except OSError as error:
        raise PoliciesRefused((PolicyProblem(folder, 0, f"cannot be read: {error.strerror}"),)) from error
    problems: list[PolicyProblem] = []
    if folder.stat().st_mode & _OTHERS_WRITE:
        problems.append(PolicyProblem(folder, 0, "others than its owner can put policies here: chmod go-w"))
    if not names:
        problems.append(PolicyProblem(folder, 0, f"holds no policy (*{POLICY_SUFFIX}): every request would be denied"))
    if len(names) > MAX_FILES:
        problems.append(PolicyProblem(folder, 0, f"holds {len(names)} files; at most {MAX_FILES} are taken"))
    files = [file for name in names[:MAX_FILES] if (file := _read_file(name, problems))]
    _refuse(problems)
    return files


def _read_file(path: Path, problems: list[PolicyProblem]) -> _File | None:
    """Return a file; what is wrong with it is noted. Whoever can write to it decides who may do what."""
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            octets = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        problems.append(PolicyProblem(path, 0, f"cannot be read: {error.strerror}"))
        return None
    if mode & _OTHERS_WRITE:
        problems.append(PolicyProblem(path, 0, "others than its owner can write to it: chmod go-w"))
    if len(octets) > MAX_FILE_BYTES:
        problems.append(PolicyProblem(path, 0, f"is larger than {MAX_FILE_BYTES >> 20} MiB"))
        return None
    try:
        return _File(path, octets.decode())
    except UnicodeDecodeError as error:
        problems.append(PolicyProblem(path, octets.count(b"\n", 0, error.start) + 1, "is not UTF-8"))
        return None


def _parse(file: _File, problems: list[PolicyProblem]) -> list[Policy]:
    policies = []
    for statement in split(file.text):
        try:
            policies.append(_policy(file.path, statement))
        except ValueError as error:
            problems.append(PolicyProblem(file.path, line_of(statement, str(error)), str(error)))
    return policies


def _policy(path: Path, statement: Statement) -> Policy:
    """Return one parsed policy. Raises ValueError."""
    if not statement.text.endswith(";"):
        raise ValueError("the last policy has no semicolon at its end, or a quote before it is not closed")
    parsed = PolicySet.from_str(statement.text).to_pst()
    if parsed.templates:
        raise ValueError("templates (?principal, ?resource) are not supported: write the policy out")
    if len(parsed.static_policies) != 1:
        raise ValueError("cannot be told apart from what is around it: write one policy, then its semicolon")
    (template,) = parsed.static_policies.values()
    return Policy(
        id=template.annotations.get("id", ""),
        file=path,
        line=statement.line,
        effect=template.effect,
        description=template.annotations.get("description", ""),
        text=statement.text,
        parsed=template,
    )


def _check_ids(policies: Sequence[Policy], problems: list[PolicyProblem]) -> None:
    seen: dict[str, Policy] = {}
    for policy in policies:
        other = seen.setdefault(policy.id, policy)
        if not policy.id:
            text = 'has no @id: write @id("a-name") above it, by which denials and `smsgw policy explain` call it'
        elif not _ID.fullmatch(policy.id) or policy.id in RESERVED_IDS:
            text = f"{policy.id[:80]!a} cannot be an @id: use 1 to 63 of a-z 0-9 . _ -, not {min(RESERVED_IDS)}"
        elif other is not policy:
            text = f'@id("{policy.id}") is that of the policy at {other.file.name}:{other.line} already'
        else:
            continue
        problems.append(PolicyProblem(policy.file, policy.line, text))


def _validate(policies: Sequence[Policy], schema: Schema, problems: list[PolicyProblem]) -> None:
    """Note where policies do not fit the schema: unknown actions, attributes and types (Cedar's strict validator)."""
    result = cedarpy.validate_policies(_text(policies), schema)
    if result.validation_passed:
        return
    noted = set()
    for error in result.errors:
        number = re.fullmatch(r"policy(\d+)", error.policy_id)
        policy = policies[int(number[1])] if number else policies[0]
        text = re.sub(r"^for policy `policy\d+`, ", "", error.error)
        line = line_of(Statement(policy.line, policy.text), text)
        if (policy.id, text) not in noted:
            noted.add((policy.id, text))
            problems.append(PolicyProblem(policy.file, line, f"{policy.id}: {text}"))
    if not problems:  # it did not pass, and says nothing: that must not pass here either
        problems.append(PolicyProblem(policies[0].file, 0, "the policies do not fit the schema"))


def _text(policies: Sequence[Policy]) -> str:
    return "\n".join(policy.text for policy in policies)


def _together(policies: Sequence[Policy]) -> PolicySet:
    """Return the set with policy n under the name `policy<n>`. Raises PoliciesRefused if Cedar numbers otherwise."""
    handle = PolicySet.from_str(_text(policies))
    named = handle.to_pst().static_policies
    expected = {f"policy{number}": policy.id for number, policy in enumerate(policies)}
    if {name: template.annotations.get("id", "") for name, template in named.items()} != expected:
        text = "the policies cannot be told apart: is this version of cedarpy supported?"
        raise PoliciesRefused((PolicyProblem(policies[0].file, 0, text),))
    return handle


def _digest(files: Sequence[_File]) -> str:
    state = hashlib.sha256()
    for file in files:
        name, octets = file.path.name.encode(), file.text.encode()
        state.update(b"%d:%s%d:%s" % (len(name), name, len(octets), octets))
    return state.hexdigest()
