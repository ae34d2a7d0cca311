"""What follows from what a probe has seen, and how sure it is. Pure: observations in, findings out.

A finding is a setting of a carrier's profile, or a fact that no setting stands for. Where nothing was seen that would
tell, there is no finding, or one that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from carrier.ids import IdForm, IdRule
from carrier.inbound import user_data
from carrier.probe.observations import Answered, Asked, Exchange, Observations, Told
from carrier.receipts import ReceiptForm, parse_receipt
from carrier.smpp.constants import Status, Tag, status_description, status_name
from carrier.smpp.pdu import DataSm
from carrier.smpp.tlv import find

# Octets in which the alphabets of data_coding 0 differ, between letters that they have in common. GSM reads them as
# "@$_¡¤§", Latin-1 and ASCII as three control characters and "@$_"; packed septets make something else of all of it.
ALPHABET_OCTETS = b"\x00\x02\x11\x40\x24\x5f probe"
LATIN1_OCTETS = b"caf\xe9 probe"
_TEMPORARY = frozenset({Status.ESME_RTHROTTLED, Status.ESME_RMSGQFUL, Status.ESME_RSYSERR, Status.ESME_RX_T_APPN})
_QUARTER_S = 900  # time zones differ by quarters of an hour
_ID_FORMS = (IdForm.AS_IS, IdForm.DECIMAL, IdForm.HEX, IdForm.HEX_BYTES)
_NUMBERS = (IdForm.DECIMAL, IdForm.HEX)
_IN_TEXT = ReceiptForm(id_in_text=True)


class Finding(NamedTuple):
    """One thing found out."""

    key: str  # a setting's path in a carrier's section, or "" for a fact
    value: object
    why: str  # how sure it is, and of how many observations


def conclude(seen: Observations) -> list[Finding]:
    """Return all that follows, settings and facts, in the order of a carrier's section."""
    found = [
        *_bind(seen),
        *_accepted(seen),
        *_flow(seen),
        *_ids(seen),
        *_receipts(seen),
        *_parts(seen),
        *_alphabet(seen),
    ]
    return found + _operations(seen)


# Bind and TLS


def _bind(seen: Observations) -> list[Finding]:
    found = []
    if seen.pair:
        refused = status_name(seen.transceiver_status)
        found.append(Finding("bind.mode", "pair", f"sure: bind_transceiver was refused ({refused}), a pair was taken"))
    version = seen.interface_version
    stated = "the bind response states no interface version" if version is None else f"it states version {version:#04x}"
    found.append(Finding("", "sc_interface_version", f"sure: {stated}"))
    if seen.tls_version:
        if seen.tls_version != "TLSv1.3":
            found.append(Finding("tls.min_version", "1.2", f"sure: with TLS 1.3 offered, it took {seen.tls_version}"))
        found.append(Finding("", "TLS", f"sure: {seen.tls_version}"))
    if seen.bind_refused:
        refused = f"{seen.binds} binds were held, one more was refused ({status_name(seen.bind_refused)})"
        found.append(Finding("binds", max(1, seen.binds // (2 if seen.pair else 1)), f"sure: {refused}"))
    elif seen.binds > 1:
        found.append(Finding("", "bind cap", f"not found: {seen.binds} binds were held at the same time"))
    return found


# Flow


def _accepted(seen: Observations) -> list[Finding]:
    """Say what the first message was refused with: nothing else was tried then."""
    status = seen.single[0].answer.status if seen.single else 0
    if status == 0:
        return []
    refused = "was not answered" if status is None else f"was refused: {status_description(status)}"
    return [Finding("", "the first submit_sm", f"sure: it {refused}; tlvs, addresses and submit may have to be set")]


def _flow(seen: Observations) -> list[Finding]:
    rate = _rate(seen)
    window = _window(seen, rate_met=rate is not None and rate.key != "")
    return [finding for finding in (window, rate) if finding is not None]


def _refused(answers: Sequence[Answered]) -> int | None:
    """Return the index of the first temporary refusal."""
    return next((at for at, answer in enumerate(answers) if answer.status in _TEMPORARY), None)


def _rate(seen: Observations) -> Finding | None:
    """Refused although each waited for the one before: it is the rate that was too high."""
    counts = [_refused(run) for run in seen.one_by_one]
    found = [count for count in counts if count]
    if found:
        statuses = {status_name(a.status or 0) for run in seen.one_by_one for a in run if a.status in _TEMPORARY}
        why = (
            f"{_sure(len(found), len(counts))}: refused with {', '.join(sorted(statuses))} after so many in one second"
        )
        return Finding("rate", min(found), why)
    if not seen.one_by_one:
        return None
    speed = max(len(run) / max(took, 0.001) for run, took in zip(seen.one_by_one, seen.one_by_one_s, strict=True))
    return Finding("", "rate", f"no limit met at {speed:.0f} a second; set rate to what the contract says")


def _window(seen: Observations, *, rate_met: bool) -> Finding | None:
    """Refused, of many at once, while those before had no answer yet: there were too many unanswered ones."""
    if not seen.at_once:
        return None
    at = _refused(seen.at_once)
    if at is None:
        most = max(answer.unanswered for answer in seen.at_once)
        return Finding("", "window", f"no limit met with {most} unanswered; set window to what the contract says")
    if rate_met:
        return Finding("", "window", "not found: the rate was met first")
    status = status_name(seen.at_once[at].status or 0)
    return Finding("window", at, f"likely: of {len(seen.at_once)} at once, number {at + 1} was refused with {status}")


# Identifiers


class _Pair(NamedTuple):
    response: str
    receipt: str


def _pairs(exchanges: Sequence[Exchange], form: ReceiptForm) -> list[_Pair]:
    """Return the ids of response and receipts of messages that were sent alone."""
    found = []
    for exchange in exchanges:
        receipts = [parse_receipt(told.pdu, form) for told in exchange.told]
        ids = [receipt.carrier_id for receipt in receipts if receipt is not None and receipt.carrier_id]
        if ids and exchange.answer.message_id:
            found.append(_Pair(exchange.answer.message_id, ids[-1]))
    return found


def _fits(pairs: Sequence[_Pair], response: IdForm, receipt: IdForm, *, ignore_case: bool) -> bool:
    ours, theirs = IdRule(response, ignore_case=ignore_case), IdRule(receipt, ignore_case=ignore_case)
    read = [(ours.read(pair.response), theirs.read(pair.receipt)) for pair in pairs]
    return all(one is not None and one == other for one, other in read)


def _forms(pairs: Sequence[_Pair]) -> tuple[IdForm, IdForm, bool] | None:
    """Return the simplest forms under which all pairs are the same."""
    choices = sorted(product(_ID_FORMS, _ID_FORMS, (False, True)), key=_effort)
    for response, receipt, ignore_case in choices:
        if _fits(pairs, response, receipt, ignore_case=ignore_case):
            return response, receipt, ignore_case
    return None


def _effort(forms: tuple[IdForm, IdForm, bool]) -> float:
    """Return how much conversion these are: a number on one side is better a number on the other, too, since the zeros
    before it need not come each time."""
    written = [form for form in forms[:2] if form is not IdForm.AS_IS]
    lopsided = len(written) == 1 and written[0] in _NUMBERS
    return len(written) + forms[2] + 1.5 * lopsided


def _ids(seen: Observations) -> list[Finding]:
    exchanges = [*seen.single, *seen.alphabet]
    for form, source in ((ReceiptForm(), "tlv"), (_IN_TEXT, "text")):
        pairs = _pairs(exchanges, form)
        forms = _forms(pairs) if pairs else None
        if forms is None:
            continue
        why = (
            f"{_sure(len(pairs), len(exchanges))}: {pairs[0].response} in a response, {pairs[0].receipt} in its receipt"
        )
        found = [Finding("ids.response", str(forms[0]), why), Finding("ids.receipt", str(forms[1]), why)]
        if forms[2]:
            found.append(Finding("ids.ignore_case", True, why))
        if source == "text":
            found.append(Finding("receipts.id_from", "text", why))
        return found
    if not exchanges:
        return []
    if not _pairs(exchanges, ReceiptForm()):
        return [Finding("", "ids", "not found: no receipt came; ask for one, or wait longer (--wait)")]
    return [
        Finding("", "ids", "not found: the ids of responses and receipts have no form in common that is known here")
    ]


# Receipts


def _receipts(seen: Observations) -> list[Finding]:
    told = [each for exchange in seen.single for each in exchange.told]
    receipts = [(each, parse_receipt(each.pdu)) for each in told]
    known = [(each, receipt) for each, receipt in receipts if receipt is not None]
    if not known:
        return []
    found = []
    offsets = {_offset(each, receipt.done_at) for each, receipt in known if receipt.done_at is not None}
    if len(offsets) == 1:
        (offset,) = offsets
        if offset:
            sign, minutes = "-" if offset < 0 else "+", abs(offset) // 60
            zone = f"{sign}{minutes // 60:02d}:{minutes % 60:02d}"
            found.append(Finding("receipts.timezone", zone, f"{_sure(len(known), len(known))}: of its done dates"))
    elif offsets:
        found.append(Finding("", "done dates", "not understood: they differ from the time of arrival by varying hours"))
    return [*found, Finding("", "receipts", _dialect(seen, [each for each, _ in known]))]


def _offset(told: Told, done_at: int) -> int:
    """Return how far a done date is ahead of UTC, in seconds, by whole quarters of an hour."""
    return round((done_at / 1e6 - told.wall) / _QUARTER_S) * _QUARTER_S


def _dialect(seen: Observations, told: Sequence[Told]) -> str:
    """Say in words what receipts look like; no setting stands for these, all of them are read."""
    tags = {tag for each in told for tag, _ in each.pdu.tlvs}
    traits = ["by data_sm" if any(isinstance(each.pdu, DataSm) for each in told) else "by deliver_sm"]
    named = [
        tag.name.lower() for tag in (Tag.RECEIPTED_MESSAGE_ID, Tag.MESSAGE_STATE, Tag.NETWORK_ERROR_CODE) if tag in tags
    ]
    traits.append(f"with {', '.join(named)}" if named else "without TLVs")
    if any(find(each.pdu.tlvs, Tag.MESSAGE_PAYLOAD) for each in told):
        traits.append("text in message_payload")
    if any(each.pdu.esm_class & 0x20 for each in told):
        traits.append("with intermediate notifications")
    if any(
        exchange.told and exchange.told[0].at < exchange.sent_at + exchange.answer.after_s for exchange in seen.single
    ):
        traits.append("some before their response")
    if any(len({repr(tuple(each.pdu)) for each in exchange.told}) < len(exchange.told) for exchange in seen.single):
        traits.append("some more than once")
    return f"seen {len(told)}: {', '.join(traits)}"


def _parts(seen: Observations) -> list[Finding]:
    """Which parts of a long message were receipted."""
    ids = [answer.message_id for answer in seen.parts]
    if len(ids) < 2 or not all(ids) or not seen.parts_told:
        return []
    forms = _forms(_pairs([*seen.single, *seen.alphabet], ReceiptForm()))
    if forms is None:
        return []
    ours, theirs = IdRule(forms[0], ignore_case=forms[2]), IdRule(forms[1], ignore_case=forms[2])
    receipts = [parse_receipt(told.pdu) for told in seen.parts_told]
    told = {theirs.read(receipt.carrier_id) for receipt in receipts if receipt is not None}
    receipted = [ours.read(written) in told for written in ids]
    value = {(True, True): "all", (True, False): "first", (False, True): "last"}.get((receipted[0], receipted[-1]))
    if value is None:
        return []
    return [Finding("receipts.parts", value, f"likely: of one message of {len(ids)} parts")]


# Encodings


def _alphabet(seen: Observations) -> list[Finding]:
    """By what receipts repeat of the text."""
    for exchange in seen.alphabet:
        echoes = [echo for echo in (_echo(told) for told in exchange.told) if echo is not None]
        if echoes:
            return [_read_echo(echoes[0], seen)]
    if not seen.alphabet:
        return []
    why = "not found: receipts do not repeat the text. The handset shows '@$_¡¤§ probe' under gsm7, '@$_ probe' under"
    return [Finding("", "text.default_alphabet", f"{why} latin1 or ascii, and nothing sensible under gsm7_packed")]


def _read_echo(echo: bytes, seen: Observations) -> Finding:
    key = "text.default_alphabet"
    if ALPHABET_OCTETS[:6] in echo:
        return Finding("", key, "not found: receipts repeat the octets as they were sent; look at the handset")
    if b"probe" not in echo:
        return Finding(key, "gsm7_packed", "likely: its receipt repeats unpacked septets as other characters")
    if b"@$_ probe" not in echo:
        return Finding(key, "gsm7", "likely: its receipt repeats octets 00 02 11 as @$_")
    for exchange in seen.alphabet[1:]:
        for again in (_echo(told) for told in exchange.told):
            if again is not None and b"caf\xe9" in again:
                return Finding(key, "latin1", "likely: its receipts repeat octets 40 24 5F as @$_, and E9")
    return Finding(key, "ascii", "likely: its receipt repeats octets 40 24 5F as @$_, and E9 as another one")


def _echo(told: Told) -> bytes | None:
    """Return what a receipt repeats of the message's text; None where it repeats nothing."""
    text = user_data(told.pdu)
    if told.pdu.data_coding == 8:
        text = text.decode("utf-16-be", "replace").encode("latin-1", "replace")
    _, label, echo = text.lower().rpartition(b"text:")
    return text[-len(echo) :] if label and echo.strip() else None


# Operations


def _operations(seen: Observations) -> list[Finding]:
    asked = (("query_sm", seen.queried), ("cancel_sm", seen.cancelled), ("replace_sm", seen.replaced))
    found = [Finding("", name, _operation(answer)) for name, answer in asked if answer is not None]
    for name, answer in asked[:2]:
        if answer is not None and _not_taken(answer):
            found.append(Finding(f"operations.{name.removesuffix('_sm')}", False, _operation(answer)))
    return found


def _not_taken(asked: Asked) -> bool:
    return asked.nacked or asked.status == Status.ESME_RINVCMDID


def _operation(asked: Asked) -> str:
    if asked.status is None:
        return "not answered"
    if _not_taken(asked):
        return f"sure: not taken ({status_name(asked.status)})"
    return "sure: taken" if asked.status == 0 else f"taken, and answered with {status_name(asked.status)}"


def _sure(count: int, of: int) -> str:
    """Say how sure something is that was seen so often."""
    word = "sure" if count >= 3 and count == of else "likely"
    return f"{word}, seen {count} of {of} times"
