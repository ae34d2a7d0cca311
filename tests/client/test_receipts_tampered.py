"""Nothing that was altered in a receipt passes."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.states import State
from smsgw.client import ReceiptInvalid
from tests.client.receipt_samples import DOCUMENT, LIFE, LOG, NOTE, changed, commits, receipt_json, verify
from tests.gateway.audit.samples import AT, OTHER_ID, decision
from tests.gateway.proving.logs import MemoryLog

# Every place in the document, and what is put there.
Path = tuple[str | int, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every value of a document that is no object, with its place."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(each, (*path, key))
        yield path, value
    else:
        yield path, value


def put(document: Any, path: Path, value: Any) -> Any:
    """Return a copy with another value at a place."""
    if not path:
        return value
    other = copy.deepcopy(document)
    inner = other
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return other


def altered(path: Path, value: Any) -> Iterator[Any]:
    """Yield what somebody could make of a value."""
    if isinstance(value, str) and path[-1] == "checkpoint":
        yield from altered_note(value)
    elif isinstance(value, str) and path[0] == "commits" and path[-1] not in ("seq", "committed_at"):
        octets = base64.b64decode(value)
        for bit in range(0, len(octets) * 8, 7):
            flipped = bytearray(octets)
            flipped[bit // 8] ^= 1 << bit % 8
            yield base64.b64encode(flipped).decode()
        yield base64.b64encode(octets[:-1]).decode()
        yield base64.b64encode(octets + b"\0").decode()
    elif isinstance(value, str) and value.isdigit():
        yield from (str(int(value) + 1), str(int(value) - 1), str(int(value) ^ 256), "0", "-1", "01", value + "0", 1.5)
    elif isinstance(value, int):
        yield from (value + 1, value - 1, value ^ 8, -1, 1 << 40, str(value) + " ", True, None)
    elif isinstance(value, list):
        yield from ([*value, value[0]] if value else [], value[:-1], value[1:], value[::-1], {}, "x", None)
    elif isinstance(value, dict):
        yield from ({}, [], None)
        yield from ({key: each for key, each in value.items() if key != left_out} for left_out in value)
    else:
        yield from (value + "x", value[:-1], value[::-1], "", None, 7)


def altered_note(note: str) -> Iterator[str]:
    """Yield what somebody could make of a checkpoint: each character another one, lines gone or elsewhere."""
    signed = note.index("\n\u2014 witness")  # cosignatures may go: a checkpoint needs none
    for at in range(signed):
        yield note[:at] + ("A" if note[at] != "A" else "B") + note[at + 1 :]
    lines = note[: signed + 1].split("\n")
    for at in range(len(lines) - 1):
        yield "\n".join(lines[:at] + lines[at + 1 :])
    yield note[:signed]
    yield note.replace("\n\n", "\nextra\n\n")
    yield note.replace("\n307\n", "\n306\n")
    yield NOTE.decode().replace("audit.example.org", "audit.example.com")


@pytest.mark.parametrize("part", ["format", "message_id", "commits", "checkpoint", "salt"])
def test_every_alteration_is_refused(part: str) -> None:
    """Whatever is altered in a receipt, bit by bit, number by number and list by list, it no longer proves the same."""
    tried = 0
    for path, value in leaves(DOCUMENT[part], (part,)):
        for other in altered(path, value):
            if other == value:
                continue
            document = put(DOCUMENT, path, other)
            tried += 1
            try:
                verified = verify(json.dumps(document))
            except ReceiptInvalid:
                continue
            assert path == ("commits",), path  # only whole commits can be left out
            assert len(verified.steps) < 4
            assert not (
                verified.gapless and verified.state == "DELIVERED" and verified.steps[1].kind != "STATE_CHANGED"
            )
    assert tried > 4


def swapped(document: Any, first: int, second: int) -> Any:
    """Return the receipt with two commits in each other's place."""
    other = copy.deepcopy(document)
    other["commits"][first], other["commits"][second] = other["commits"][second], other["commits"][first]
    return other


def with_record_of(document: Any, other: Any) -> Any:
    """Return the receipt with the first commit of another one."""
    made = copy.deepcopy(document)
    made["commits"][0] = other["commits"][0]
    return made


FORK = MemoryLog()
FORK_NOTE = FORK.append(
    [*LIFE[:305], *commits([decision(), changed(State.SUBMITTED, State.EXPIRED, AT)])[:1], LIFE[306]]
)
OTHER = json.loads(receipt_json(LOG, NOTE, LIFE, OTHER_ID))
TAMPERED: dict[str, Callable[[], tuple[Any, str]]] = {
    "commits in another order": lambda: (swapped(DOCUMENT, 0, 3), "NOT_PROVEN"),
    "a record of another message": lambda: (with_record_of(DOCUMENT, OTHER), "OTHER_MESSAGE"),
    "another message's id": lambda: ({**DOCUMENT, "message_id": OTHER["message_id"]}, "OTHER_MESSAGE"),
    "the checkpoint of a fork": lambda: ({**DOCUMENT, "checkpoint": FORK_NOTE.decode()}, "NOT_PROVEN"),
    "a commit twice": lambda: ({**DOCUMENT, "commits": [DOCUMENT["commits"][0]] * 2}, "NOT_PROVEN"),
    "no commits": lambda: ({**DOCUMENT, "commits": []}, "OTHER_MESSAGE"),
    "another salt": lambda: ({**DOCUMENT, "salt": base64.b64encode(bytes(16)).decode()}, "OTHER_CONTENT"),
    "no salt": lambda: ({**DOCUMENT, "salt": ""}, "NO_COMMITMENT"),
    "a list": lambda: ([DOCUMENT], "MALFORMED"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampered(name: str) -> None:
    """What is put together otherwise is refused, and for its own reason."""
    document, reason = TAMPERED[name]()
    with pytest.raises(ReceiptInvalid) as error:
        verify(json.dumps(document))
    assert error.value.reason == reason


def test_a_forged_log() -> None:
    """A whole log of somebody else's is good by his key alone."""
    forged = MemoryLog(key=9)
    note = forged.append(LIFE)
    text = receipt_json(forged, note, LIFE)
    assert verify(text, log_key=forged.vkey).gapless
    with pytest.raises(ReceiptInvalid):
        verify(text)


_JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=8),
    lambda inner: st.dictionaries(st.sampled_from(list(DOCUMENT)), inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=12,
)


def _of_the_form(value: object) -> str:
    return json.dumps({"format": DOCUMENT["format"], **value} if isinstance(value, dict) else value)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200) | _JSON.map(_of_the_form))
def test_fuzz(text: str | bytes) -> None:
    """Whatever it is given, it raises what it documents."""
    with pytest.raises(ReceiptInvalid):
        verify(text)


def test_bounds() -> None:
    """What is too large is refused before it is read."""
    with pytest.raises(ReceiptInvalid, match="at most"):
        verify("x" * (5 << 20))
    record = DOCUMENT["commits"][0]["records"][0]
    for field, value in (("inclusion", [DOCUMENT["salt"]] * 65), ("records", [record] * 1001)):
        with pytest.raises(ReceiptInvalid):
            verify(json.dumps(put(DOCUMENT, ("commits", 0, field), value)))
