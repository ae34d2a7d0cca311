"""Reads a script from YAML. Whatever is wrong is told with file, line and key; nothing is guessed or left out.

system_id: smsgw                # any, if left out
password: secret
message_ids: uuid               # uuid, hex or decimal
responses: {delay_s: 0.05, none_every: 1000}
receipts:
  delay_s: 0.5
  states: [DELIVRD, UNDELIV]    # taken in turn
  rules:
    - {destination_suffix: "00", state: EXPIRED, error: "027"}
  form: both                    # both, text or tlv
errors:
  - {destination_prefix: "99", status: ESME_RINVDSTADR}
  - {every: 50, status: ESME_RSYSERR, times: 3}
throttle: {rate_s: 100}
disconnect_after: 5000
inbound:
  - {at_s: 2, from: "+4915112345678", to: "12345", text: STOP}
"""

from __future__ import annotations

import difflib
import string
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import yaml

from carrier.errors import TextError
from carrier.outbound import address_of
from carrier.simulator.errors import ScriptError
from carrier.simulator.script import (
    ID_FORMS,
    RECEIPT_FIELDS,
    RECEIPT_FORMS,
    RECEIPT_ID_FORMS,
    ErrorRule,
    InboundScript,
    Match,
    Receipts,
    Responses,
    Script,
    StateRule,
    Throttle,
)
from carrier.smpp.constants import Status
from carrier.text.segment import segment_text

MAX_SCRIPT_BYTES = 1 << 20
MAX_LIST = 10_000

Reader = Callable[["_At", yaml.Node], Any]


class _At:
    """Where we are in the file, for errors."""

    def __init__(self, file: str, path: str = "") -> None:
        self.file = file
        self.path = path

    def below(self, key: str) -> _At:
        return _At(self.file, f"{self.path}{key}" if key.startswith("[") or not self.path else f"{self.path}.{key}")

    def fail(self, node: yaml.Node, what: str) -> NoReturn:
        raise ScriptError(f"{self.file}:{node.start_mark.line + 1}: {self.path or 'the script'}: {what}")


def read_script(path: Path) -> Script:
    """Return the script in the file `path`. Raises ScriptError."""
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_SCRIPT_BYTES + 1)
    except OSError as error:
        raise ScriptError(f"{path}: {error.strerror}; give --script a readable YAML file") from error
    if len(octets) > MAX_SCRIPT_BYTES:
        raise ScriptError(f"{path}: a script has at most {MAX_SCRIPT_BYTES} octets")
    return parse_script(octets, str(path))


def parse_script(content: bytes | str, file: str = "script") -> Script:
    """Return the script in `content`; `file` is its name in errors. Raises ScriptError."""
    try:
        node = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ScriptError(f"{file}:{line}: this is not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ScriptError(f"{file}: this is not YAML: {type(error).__name__}") from error
    at = _At(file)
    return Script() if node is None else Script(**_mapping(at, node, _SCRIPT))


def _mapping(at: _At, node: yaml.Node, readers: Mapping[str, Reader]) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        at.fail(node, f"a mapping is wanted, with keys among {', '.join(readers)}")
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
        reader = readers.get(key)
        if reader is None:
            near = difflib.get_close_matches(key, readers, n=1)
            at.below(key).fail(key_node, f"unknown key; {f'did you mean {near[0]}?' if near else _known(readers)}")
        if key in found:
            at.below(key).fail(key_node, "this key is here twice")
        found[key] = reader(at.below(key), value_node)
    return found


def _known(readers: Mapping[str, Reader]) -> str:
    return f"known here: {', '.join(readers)}"


def _value(at: _At, node: yaml.Node) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        at.fail(node, "a single value is wanted")
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (ValueError, yaml.YAMLError):
        at.fail(node, f"{node.value!a} cannot be read")


def _text(at: _At, node: yaml.Node) -> str:
    value = _value(at, node)
    if not isinstance(value, str):
        at.fail(node, f"a text is wanted; put {node.value!a} in quotes")
    return value


def _sendable(at: _At, node: yaml.Node) -> str:
    value = _text(at, node)
    try:
        segment_text(value, reference=0)
    except TextError as error:
        at.fail(node, str(error))
    return value


def _address(at: _At, node: yaml.Node) -> str:
    value = _text(at, node)
    try:
        address_of(value)
    except TextError as error:
        at.fail(node, str(error))
    return value


def _system_id(at: _At, node: yaml.Node) -> str:
    value = _text(at, node)
    if not (1 <= len(value) <= 15 and value.isascii() and value.isprintable()):
        at.fail(node, "a system_id has 1 to 15 printable ASCII characters")
    return value


def _digits(at: _At, node: yaml.Node) -> str:
    value = _text(at, node)
    if not (value.isascii() and value.isdigit()):
        at.fail(node, "digits are wanted, without a plus sign")
    return value


def _truth(at: _At, node: yaml.Node) -> bool:
    value = _value(at, node)
    if not isinstance(value, bool):
        at.fail(node, "true or false is wanted")
    return value


def _count(least: int, most: int = 1_000_000_000) -> Reader:
    def read(at: _At, node: yaml.Node) -> int:
        value = _value(at, node)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            at.fail(node, f"a whole number from {least} to {most} is wanted")
        return value

    return read


def _number(least: float, most: float) -> Reader:
    def read(at: _At, node: yaml.Node) -> float:
        value = _value(at, node)
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            at.fail(node, f"a number from {least:g} to {most:g} is wanted")
        return float(value)

    return read


def _one_of(*choices: str) -> Reader:
    def read(at: _At, node: yaml.Node) -> str:
        value = _text(at, node)
        if value not in choices:
            at.fail(node, f"{value!a} is none of {', '.join(choices)}")
        return value

    return read


def _list(reader: Reader) -> Reader:
    def read(at: _At, node: yaml.Node) -> tuple[Any, ...]:
        if not isinstance(node, yaml.SequenceNode):
            at.fail(node, "a list is wanted")
        if len(node.value) > MAX_LIST:
            at.fail(node, f"a list has at most {MAX_LIST} entries")
        return tuple(reader(at.below(f"[{index}]"), item) for index, item in enumerate(node.value))

    return read


def _part(build: Callable[..., Any], readers: Mapping[str, Reader], *needed: str) -> Reader:
    """Read a mapping into `build`; keys that `Match` has go into its `match`."""

    def read(at: _At, node: yaml.Node) -> Any:
        found = _mapping(at, node, readers)
        for key in needed:
            if key not in found:
                at.below(key).fail(node, "this key is needed")
        if build in (ErrorRule, StateRule):
            found["match"] = Match(**{key: found.pop(key) for key in list(found) if key in _MATCH})
        return build(**{_FIELD_NAMES.get(key, key): value for key, value in found.items()})

    return read


def _status(at: _At, node: yaml.Node) -> int:
    value = _value(at, node)
    known = Status.__members__
    if isinstance(value, str) and known.get(value):
        value = int(known[value])
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 0xFFFFFFFF:
        near = difflib.get_close_matches(str(value), known, n=1)
        at.fail(node, f"no error status; {f'did you mean {near[0]}?' if near else 'write ESME_RSYSERR, or a number'}")
    return value


def _stat(at: _At, node: yaml.Node) -> str:
    value = _text(at, node)
    if not (1 <= len(value) <= 16 and value.isascii() and value.isalnum()):
        at.fail(node, "a state has 1 to 16 letters or digits: DELIVRD, UNDELIV, EXPIRED, REJECTD, ENROUTE, ...")
    return value


def _states(at: _At, node: yaml.Node) -> Any:
    states = _list(_stat)(at, node)
    if not states:
        at.fail(node, "at least one state is wanted; `send: false` stops receipts")
    return states


def _error_code(at: _At, node: yaml.Node) -> str:
    value = _text(at, node)
    if not (1 <= len(value) <= 16 and value.isascii() and value.isprintable() and " " not in value):
        at.fail(node, "an error code has 1 to 16 visible ASCII characters")
    return value


def _template(at: _At, node: yaml.Node) -> str:
    value = _text(at, node)
    try:
        names = [name for _, name, form, conversion in string.Formatter().parse(value) if name is not None]
        rendered = value.format(**dict.fromkeys(RECEIPT_FIELDS, ""))
    except (ValueError, KeyError, IndexError, AttributeError):
        at.fail(node, f"the fields are {', '.join('{' + name + '}' for name in RECEIPT_FIELDS)}")
    if not set(names) <= set(RECEIPT_FIELDS) or len(rendered) > 120 or not rendered.isascii():
        at.fail(node, f"at most 120 ASCII characters around fields among {', '.join(RECEIPT_FIELDS)}")
    return value


_SECONDS = _number(0, 86_400)
_FIELD_NAMES = {"from": "source", "to": "destination"}
_MATCH: dict[str, Reader] = {
    "every": _count(1),
    "destination_prefix": _digits,
    "destination_suffix": _digits,
    "text": _text,
    "times": _count(0),
}
_RECEIPTS: dict[str, Reader] = {
    "send": _truth,
    "delay_s": _SECONDS,
    "states": _states,
    "rules": _list(_part(StateRule, _MATCH | {"state": _stat, "error": _error_code}, "state")),
    "before_response": _truth,
    "duplicates": _count(0, 100),
    "form": _one_of(*RECEIPT_FORMS),
    "ids": _one_of(*RECEIPT_ID_FORMS),
    "template": _template,
    "window": _count(1, 10_000),
    "redeliver_after_s": _number(0.01, 86_400),
}
_INBOUND: dict[str, Reader] = {
    "at_s": _SECONDS,
    "from": _address,
    "to": _address,
    "text": _sendable,
    "repeat": _count(1, 100_000),
}


def _throttle(rate_s: float, status: int = int(Status.ESME_RTHROTTLED)) -> Throttle:
    return Throttle(rate_s=rate_s, status=status)


_SCRIPT: dict[str, Reader] = {
    "system_id": _system_id,
    "password": _text,
    "message_ids": _one_of(*ID_FORMS),
    "responses": _part(Responses, {"delay_s": _SECONDS, "none_every": _count(0)}),
    "receipts": _part(Receipts, _RECEIPTS),
    "errors": _list(_part(ErrorRule, _MATCH | {"status": _status}, "status")),
    "throttle": _part(_throttle, {"rate_s": _number(0.001, 1e9), "status": _status}, "rate_s"),
    "disconnect_after": _count(0),
    "inbound": _list(_part(InboundScript, _INBOUND, "from", "to", "text")),
}
_UNREAD = {field.name for field in fields(Script)} - set(_SCRIPT)
if _UNREAD:
    raise ImportError(f"the script file cannot set {_UNREAD}")
