"""query_sm, cancel_sm, replace_sm, submit_multi and data_sm: nacked, failed, or done."""

from __future__ import annotations

import pytest

from carrier.receipts import parse_receipt
from carrier.smpp.pdu import (
    CancelSm,
    DataSm,
    Pdu,
    QuerySm,
    QuerySmResp,
    ReplaceSm,
    SmeAddress,
    SubmitMulti,
    SubmitMultiResp,
)
from tests.carrier.simulator.esme import Esme, smsc, submit

DOES_ALL = (
    "message_ids: hex\noperations: {query: answer, cancel: answer, replace: answer, data: answer, multi: answer}\n"
)


@pytest.mark.parametrize("how", ["nack", "fail"])
@pytest.mark.parametrize(
    ("pdu", "key", "status"),
    [
        (QuerySm(b"1"), "query", 0x67),
        (CancelSm(message_id=b"1"), "cancel", 0x11),
        (ReplaceSm(b"1"), "replace", 0x13),
        (DataSm(destination_addr=b"1"), "data", 8),
        (SubmitMulti(dest_addresses=(SmeAddress(1, 1, b"49"),)), "multi", 0x45),
    ],
)
def test_what_a_carrier_does_not_do(pdu: Pdu, key: str, status: int, how: str) -> None:
    """An unknown command, or its own error."""
    esme = Esme(smsc(f"operations: {{{key}: {how}}}"))
    esme.send(pdu, now=0.0)
    assert esme.take() == [(3, "GenericNack") if how == "nack" else (status, type(pdu).__name__ + "Resp")]


def state(esme: Esme, message_id: bytes, now: float, source: bytes = b"ACME") -> tuple[int, QuerySmResp]:
    """Ask for a message."""
    esme.send(QuerySm(message_id, 5, 0, source), now=now)
    ((header, pdu),) = [found for found in esme.read() if isinstance(found[1], QuerySmResp)]
    assert isinstance(pdu, QuerySmResp)
    return header.command_status, pdu


def test_query_sm_tells_real_states() -> None:
    """Under way, then what the receipt says, with its time and error; only to who knows the sender."""
    esme = Esme(smsc(DOES_ALL + 'receipts: {delay_s: 5, rules: [{state: EXPIRED, error: "7"}]}'))
    esme.send(submit(), now=0.0)
    assert state(esme, b"ff", 4.0) == (0, QuerySmResp(b"ff", b"", 1, 7))
    assert state(esme, b"ff", 5.0) == (0, QuerySmResp(b"ff", b"270115080005000+", 3, 7))
    assert state(esme, b"ff", 5.0, b"OTHER")[0] == 0x67
    assert state(esme, b"fe", 5.0)[0] == 0x67


def test_cancel_sm_stops_what_is_under_way() -> None:
    """One receipt, DELETED, instead of the one that was to come; a second cancel fails."""
    esme = Esme(smsc(DOES_ALL + "receipts: {delay_s: 5}"))
    esme.send(submit(), now=0.0)
    esme.take()
    cancel = CancelSm(message_id=b"ff", source_addr=b"ACME", destination_addr=b"4915112345678")
    esme.send(cancel, cancel._replace(message_id=b"fe"), cancel._replace(destination_addr=b"1"), now=1.0)
    esme.tick(9.0)
    answers = esme.read()
    assert [header.command_status for header, _ in answers] == [0, 0x11, 0x11, 0]
    receipt = parse_receipt(answers[-1][1])  # type: ignore[arg-type]  # the next line would fail for another PDU
    assert receipt is not None
    assert receipt[:3] == ("ff", "C", "DELETED")
    assert state(esme, b"ff", 9.0)[1].message_state == 4
    esme.send(cancel, now=9.0)
    assert esme.take() == [(0x11, "CancelSmResp")]


def test_cancel_sm_without_an_id_takes_all_of_a_pair() -> None:
    """SMPP 3.4 §4.9: source and destination name the messages."""
    box = smsc(DOES_ALL + "receipts: {delay_s: 5}")
    esme = Esme(box)
    esme.send(submit(), submit(), submit(to=b"491"), now=0.0)
    esme.send(CancelSm(source_addr=b"ACME", destination_addr=b"4915112345678"), now=1.0)
    esme.tick(9.0)
    assert box.counts.receipts == 3
    assert [state(esme, name, 9.0)[1].message_state for name in (b"ff", b"100", b"101")] == [4, 4, 2]


def test_replace_sm_in_time_and_too_late() -> None:
    """ESME_RREPLACEFAIL once it is delivered."""
    esme = Esme(smsc(DOES_ALL + "receipts: {delay_s: 5}"))
    esme.send(submit(), now=0.0)
    esme.take()
    replace = ReplaceSm(b"ff", 5, 0, b"ACME", short_message=b"new")
    esme.send(replace, now=1.0)
    esme.send(replace, now=6.0)
    assert [found for found in esme.take() if found[1] == "ReplaceSmResp"] == [
        (0, "ReplaceSmResp"),
        (0x13, "ReplaceSmResp"),
    ]


def test_data_sm_and_submit_multi_are_taken() -> None:
    """A data_sm is a message like any other."""
    box = smsc(DOES_ALL)
    esme = Esme(box)
    esme.send(DataSm(source_addr=b"ACME", destination_addr=b"4915112345678", registered_delivery=1), now=0.0)
    esme.send(SubmitMulti(dest_addresses=(SmeAddress(1, 1, b"49"),)), now=0.0)
    kinds = [type(pdu).__name__ for _, pdu in esme.read()]
    assert kinds == ["DataSmResp", "DeliverSm", SubmitMultiResp.__name__]
    assert box.counts.accepted == 1
