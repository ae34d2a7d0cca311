"""Ids on their way to the store."""

from __future__ import annotations

from carrier.ids import IdForm, IdForms
from gateway.pipeline.carrier_ids import CarrierIds
from gateway.states import State
from gateway.store.contract import Settlement

IDS = CarrierIds([("acme", IdForms(response=IdForm.HEX, receipt=IdForm.DECIMAL)), ("plain", IdForms())])


def settlement(carrier: str, carrier_ids: str) -> Settlement:
    """A submitted message."""
    return Settlement("demo", bytes(16), State.SUBMITTED, 1, carrier, carrier_ids, "S", None, 0, "", "", None, "")


def test_settlements_say_how_receipts_find_them() -> None:
    """The ids stay as written, and each part's canonical form stands beside them; unanswered parts stay empty."""
    (found,) = IDS.refer([settlement("acme", "1f\n\n0a")])
    assert (found.carrier_ids, found.refs) == ("1f\n\n0a", "31\n\n10")
    assert IDS.of_receipt("acme", "0031") == "31"


def test_other_carriers_are_left_alone() -> None:
    """A carrier with plain ids, an unknown one, and a message without ids are what they were."""
    batch = [settlement("plain", "1f"), settlement("gone", "1f"), settlement("acme", "")]
    assert IDS.refer(batch) == batch
    assert IDS.of_receipt("plain", "0031") == "0031"


def test_without_rules_nothing_is_copied() -> None:
    """Where every carrier's ids are plain the batch is handed on itself."""
    batch = [settlement("acme", "1f")]
    assert CarrierIds([("acme", IdForms())]).refer(batch) is batch


def test_what_is_not_written_so_is_counted() -> None:
    """An id in another form stays as it is and counts for its side; no id at all is not counted."""
    ids = CarrierIds([("acme", IdForms(response=IdForm.HEX, receipt=IdForm.DECIMAL))])
    assert ids.refer([settlement("acme", "xyz")])[0].refs == "xyz"
    assert [ids.of_receipt("acme", "0a"), ids.of_receipt("acme", "")] == ["0a", ""]
    assert ids.unread == {("acme", "response"): 1, ("acme", "receipt"): 1}
