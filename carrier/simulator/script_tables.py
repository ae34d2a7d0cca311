"""The keys of a script file, and how each is read: one table for each part of `carrier.simulator.script`."""

from __future__ import annotations

import difflib
import string
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from carrier.addresses import address_of
from carrier.errors import TextError
from carrier.simulator import script_deliveries as d
from carrier.simulator import script_flow as f
from carrier.simulator.handset import handset_pdus
from carrier.simulator.yaml_values import (
    At,
    Reader,
    count_from,
    list_of,
    number_from,
    one_of,
    part_of,
    read_digits,
    read_octets,
    read_text,
    read_truth,
    read_value,
)
from carrier.smpp.constants import Status


def _address(at: At, node: yaml.Node) -> str:
    value = read_text(at, node)
    try:
        address_of(value)
    except TextError as error:
        at.fail(node, str(error))
    return value


def _system_id(at: At, node: yaml.Node) -> str:
    value = read_text(at, node)
    if not (1 <= len(value) <= 15 and value.isascii() and value.isprintable()):
        at.fail(node, "a system_id has 1 to 15 printable ASCII characters")
    return value


def _status(at: At, node: yaml.Node) -> int:
    value = read_value(at, node)
    known = Status.__members__
    if isinstance(value, str) and known.get(value):
        value = int(known[value])
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 0xFFFFFFFF:
        near = difflib.get_close_matches(str(value), known, n=1)
        at.fail(node, f"no error status; {f'did you mean {near[0]}?' if near else 'write ESME_RSYSERR, or a number'}")
    return value


def _stat(at: At, node: yaml.Node) -> str:
    value = read_text(at, node)
    if not (1 <= len(value) <= 16 and value.isascii() and value.isalnum()):
        at.fail(node, "a state has 1 to 16 letters or digits: DELIVRD, UNDELIV, EXPIRED, REJECTD, ENROUTE, ...")
    return value


def _states(at: At, node: yaml.Node) -> Any:
    states = list_of(_stat)(at, node)
    if not states:
        at.fail(node, "at least one state is wanted; `send: false` stops receipts")
    return states


def _visible(what: str, most: int) -> Reader:
    def read(at: At, node: yaml.Node) -> str:
        value = read_text(at, node)
        if not (1 <= len(value) <= most and value.isascii() and value.isprintable() and " " not in value):
            at.fail(node, f"{what} has 1 to {most} visible ASCII characters")
        return value

    return read


def _template(at: At, node: yaml.Node) -> str:
    value = read_text(at, node)
    known = d.RECEIPT_FIELDS
    try:
        names = [name for _, name, form, conversion in string.Formatter().parse(value) if name is not None]
        rendered = value.format(**dict.fromkeys(known, ""))
    except (ValueError, KeyError, IndexError, AttributeError):
        at.fail(node, f"the fields are {', '.join('{' + name + '}' for name in known)}")
    if not set(names) <= set(known) or len(rendered) > 120 or not rendered.isascii():
        at.fail(node, f"at most 120 ASCII characters around fields among {', '.join(known)}")
    return value


def _interface_version(at: At, node: yaml.Node) -> int | None:
    return None if read_value(at, node) == "none" else _OCTET(at, node)


def _extra_tlv(tag: int, value: bytes = b"", text: str = "") -> f.ExtraTlv:
    return f.ExtraTlv(tag=tag, value=value or text.encode("utf-8"))


def _throttle(rate_s: float, status: int = int(Status.ESME_RTHROTTLED), burst_s: float = 1.0) -> f.Throttle:
    return f.Throttle(rate_s=rate_s, status=status, burst_s=burst_s)


def _matched(build: Callable[..., Any], readers: Mapping[str, Reader], *needed: str) -> Reader:
    """Read a rule: the keys that `Match` has go into its `match`."""

    def built(**found: Any) -> Any:
        match = f.Match(**{key: found.pop(key) for key in list(found) if key in _MATCH})
        return build(match=match, **found)

    return part_of(built, _MATCH | dict(readers), *needed)


def _variant(match: f.Match, **how: Any) -> d.ReceiptVariant:
    return d.ReceiptVariant(match=match, how=d.Receipts(**how))


def _inbound(at: At, node: yaml.Node) -> d.InboundScript:
    message: d.InboundScript = _INBOUND(at, node)
    if message.octets is None and not message.text:
        at.below("text").fail(node, "this key is needed, or octets with a data_coding")
    if message.octets is not None and (message.text or message.data_coding is None):
        at.below("octets").fail(node, "octets come without a text, and with a data_coding")
    try:
        handset_pdus(message, 0)
    except TextError as error:
        at.below("text").fail(node, str(error))
    return message


_SECONDS = number_from(0, 86_400)
_OCTET = count_from(0, 255)
_MATCH: dict[str, Reader] = {
    "every": count_from(1),
    "destination_prefix": read_digits,
    "destination_suffix": read_digits,
    "text": read_text,
    "times": count_from(0),
}
_TLVS = list_of(part_of(_extra_tlv, {"tag": count_from(0, 0xFFFF), "value": read_octets, "text": read_text}, "tag"))
_RECEIPT: dict[str, Reader] = {
    "send": read_truth,
    "delay_s": _SECONDS,
    "states": _states,
    "before": list_of(_stat),
    "afterwards": list_of(_stat),
    "gap_s": _SECONDS,
    "before_response": read_truth,
    "duplicates": count_from(0, 100),
    "unrequested": read_truth,
    "parts": one_of(*d.RECEIPT_PARTS),
    "form": one_of(*d.RECEIPT_FORMS),
    "ids": one_of(*d.RECEIPT_ID_FORMS),
    "unknown_id": _visible("an id", 64),
    "template": _template,
    "dates": one_of(*d.DATES),
    "done_offset_s": number_from(-10 * 365 * 86_400, 10 * 365 * 86_400),
    "network_type": _OCTET,
    "by": one_of(*d.RECEIPT_COMMANDS),
    "esm_class": _OCTET,
    "before_esm_class": _OCTET,
    "udh": read_octets,
    "payload": read_truth,
    "data_coding": _OCTET,
    "charset": one_of(*d.CHARSETS),
    "destination": read_digits,
    "tlvs": _TLVS,
    "trailing": read_octets,
}
_RECEIPTS: dict[str, Reader] = _RECEIPT | {
    "rules": list_of(_matched(d.StateRule, {"state": _stat, "error": _visible("an error code", 16)}, "state")),
    "variants": list_of(_matched(_variant, _RECEIPT)),
    "window": count_from(1, 10_000),
    "redeliver_after_s": number_from(0.01, 86_400),
    "retry_s": number_from(0.01, 86_400),
}
_INBOUND = part_of(
    d.InboundScript,
    {
        "at_s": _SECONDS,
        "from": _address,
        "to": _address,
        "text": read_text,
        "octets": read_octets,
        "repeat": count_from(1, 100_000),
        "encoding": one_of(*d.ENCODINGS),
        "data_coding": _OCTET,
        "segmentation": one_of(*d.SEGMENTATIONS),
        "udh": read_octets,
        "esm_class": _OCTET,
        "by": one_of(*d.RECEIPT_COMMANDS),
        "reverse": read_truth,
        "missing_part": count_from(0, 255),
        "tlvs": _TLVS,
    },
    "from",
    "to",
    renamed={"from": "source", "to": "destination"},
)
_RESPONSES: dict[str, Reader] = {
    "delay_s": _SECONDS,
    "none_every": count_from(0),
    "late_every": count_from(0),
    "late_s": _SECONDS,
    "swap_s": _SECONDS,
    "body": one_of(*f.RESPONSE_BODIES),
    "error_body": one_of(*f.ERROR_BODIES),
    "congestion": list_of(count_from(0, 100)),
    "tlvs": _TLVS,
    "trailing": read_octets,
}
_BINDS: dict[str, Reader] = {
    "kinds": list_of(one_of(*f.BIND_KINDS)),
    "most": count_from(0, 1000),
    "status": _status,
    "interface_version": _interface_version,
    "tlvs": _TLVS,
    "longest_password": count_from(0, 64),
}
_ODD: dict[str, Reader] = {
    "to": one_of("any", *f.REQUESTS),
    "with": one_of(*f.ANSWERS),
    "status": _status,
    "every": count_from(1),
    "times": count_from(0),
}
_REQUIRED: dict[str, Reader] = {
    "tag": count_from(0, 0xFFFF),
    "missing": _status,
    "invalid": _status,
    "shortest": count_from(0, 0xFFFF),
    "longest": count_from(0, 0xFFFF),
    "digits": read_truth,
}
_OPERATION = one_of(*f.OPERATION_ANSWERS)

SCRIPT: dict[str, Reader] = {
    "system_id": _system_id,
    "password": read_text,
    "binds": part_of(f.Binds, _BINDS),
    "message_ids": one_of(*d.ID_FORMS),
    "first_id": count_from(0, 1 << 60),
    "alphabet": one_of(*f.ALPHABETS),
    "responses": part_of(f.Responses, _RESPONSES),
    "answers": list_of(part_of(f.OddAnswer, _ODD, "to", "with", renamed={"with": "answer"})),
    "receipts": part_of(d.Receipts, _RECEIPTS),
    "errors": list_of(_matched(f.ErrorRule, {"status": _status, "accepted": read_truth}, "status")),
    "throttle": part_of(
        _throttle, {"rate_s": number_from(0.001, 1e9), "status": _status, "burst_s": number_from(0, 3600)}, "rate_s"
    ),
    "window": part_of(f.Window, {"most": count_from(1, 100_000), "status": _status}, "most"),
    "required_tlvs": list_of(part_of(f.RequiredTlv, _REQUIRED, "tag")),
    "refuse_udhi_with_sar": read_truth,
    "operations": part_of(
        f.Operations,
        {"query": _OPERATION, "cancel": _OPERATION, "replace": _OPERATION, "data": _OPERATION, "multi": _OPERATION},
    ),
    "enquire_link_s": _SECONDS,
    "disconnect_after": count_from(0),
    "inbound": list_of(_inbound),
    "raw": list_of(part_of(d.Raw, {"octets": read_octets, "at_s": _SECONDS}, "octets")),
}
