"""The rules of a script, counted by hand."""

from __future__ import annotations

from carrier.simulator.judge import Judge
from carrier.simulator.script import Receipts
from carrier.simulator.script_file import parse_script


def judge(script: str) -> Judge:
    """Make a judge at time 0."""
    return Judge(parse_script(script), 0.0)


def status(judge: Judge, destination: str, text: str = "") -> int:
    """Return the status of the rule that a submit_sm meets."""
    rule = judge.error(destination, text)
    return rule.status if rule else 0


def test_every_counts_only_what_fits() -> None:
    """Every second one to +99, at most twice."""
    found = judge('errors: [{destination_prefix: "99", every: 2, times: 2, status: 8}]')
    statuses = [status(found, number) for number in ("991", "49", "992", "993", "994", "995", "996")]
    assert statuses == [0, 0, 8, 0, 8, 0, 0]


def test_all_conditions_have_to_fit() -> None:
    """Prefix, suffix and text together."""
    found = judge('errors: [{destination_prefix: "49", destination_suffix: "7", text: "no", status: 9}]')
    assert [status(found, *pair) for pair in (("497", "oh no"), ("497", "yes"), ("498", "no"), ("397", "no"))] == [
        9, 0, 0, 0,
    ]  # fmt: skip


def test_the_first_rule_that_fits_counts() -> None:
    """Rules are read from the top."""
    found = judge("errors: [{every: 2, status: 8}, {status: 9}]")
    assert [status(found, "1") for _ in range(4)] == [9, 8, 9, 8]


def test_throttling_refills_with_time() -> None:
    """Two a second: a burst of two, then one each half second."""
    found = judge("throttle: {rate_s: 2, status: ESME_RMSGQFUL}")
    assert [found.throttled(at) for at in (0.0, 0.0, 0.0, 0.4, 0.5, 0.6, 9.0, 9.0, 9.0)] == [
        0, 0, 0x14, 0x14, 0, 0x14, 0, 0, 0x14,
    ]  # fmt: skip


def test_states_come_in_turn_beside_rules() -> None:
    """A rule takes its own; the others take turns."""
    found = judge(
        'receipts: {states: [DELIVRD, EXPIRED], rules: [{destination_suffix: "0", state: REJECTD, error: "5"}]}'
    )
    assert [found.outcome(number, "", Receipts(states=("DELIVRD", "EXPIRED"))) for number in ("1", "10", "2", "3")] == [
        ("DELIVRD", "000"), ("REJECTD", "5"), ("EXPIRED", "000"), ("DELIVRD", "000"),
    ]  # fmt: skip


def test_no_answer_every_third() -> None:
    """0 answers all."""
    some, every = judge("responses: {none_every: 3}"), judge("")
    assert [some.answer_after() for _ in range(6)] == [0.0, 0.0, None] * 2
    assert [every.answer_after() for _ in range(6)] == [0.0] * 6
