"""The contract: raised once, resolved once, in time, bounded, and told in full."""

from __future__ import annotations

import logging
import threading

import pytest

from visibility.alerts import MOST_EACH, MOST_WHY, OTHER, Alert, AlertKind, Alerts, Severity

SECOND = 1_000_000
DOWN = AlertKind(name="carrier_down", severity=Severity.PAGE, summary="A carrier is down.", labels=("carrier",))
SLOW = AlertKind(name="slow_down", severity=Severity.TICKET, summary="It is slow.", after_s=60.0)
PASSING = AlertKind(name="it_happened", severity=Severity.INFO, summary="It happened.", lasts_s=300.0)
PLAIN = AlertKind(name="store_failing", severity=Severity.PAGE, summary="It fails.", security=True)


class Rig:
    """Alerts under a clock that the test moves, and what a listener was told."""

    def __init__(self) -> None:
        self.now = 1_800_000_000 * SECOND
        self.told: list[Alert] = []
        self.alerts = Alerts(
            (DOWN, SLOW, PASSING, PLAIN),
            lambda: self.now,
            listeners=[self.told.append],
            redact=lambda text: text.replace("4711", "XXXX"),
        )

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += round(seconds * SECOND)
        self.alerts.look()

    @property
    def names(self) -> list[str]:
        """The names of what is active."""
        return [alert.kind.name for alert in self.alerts.active()]


def test_raised_once_and_resolved_once() -> None:
    """However often a condition is met, there is one alert, which counts; and it ends once."""
    rig = Rig()
    for why in ("first", "", "third"):
        rig.alerts.raise_alert(DOWN, "acme", why=why)
        rig.wait(1)
    (alert,) = rig.alerts.active()
    assert (alert.times, alert.why, alert.labels) == (3, "third", {"carrier": "acme"})
    assert rig.now - alert.raised_at == 3 * SECOND
    rig.alerts.resolve(DOWN, "acme")
    rig.alerts.resolve(DOWN, "acme")
    assert rig.names == []
    assert [bool(told.resolved_at) for told in rig.told] == [False, True]
    assert rig.told[1].resolved_at - rig.told[1].raised_at == 3 * SECOND


def test_labels_are_apart() -> None:
    """Each set of labels is an alert of its own."""
    rig = Rig()
    rig.alerts.raise_alert(DOWN, "acme")
    rig.alerts.raise_alert(DOWN, "other-carrier")
    rig.alerts.resolve(DOWN, "acme")
    assert [alert.labels for alert in rig.alerts.active()] == [{"carrier": "other-carrier"}]


def test_what_passes_by_itself_is_no_alert() -> None:
    """A condition that has to last is told when it has lasted, and not at all when it was over before."""
    rig = Rig()
    rig.alerts.raise_alert(SLOW)
    rig.wait(59)
    rig.alerts.resolve(SLOW)
    rig.wait(60)
    assert (rig.names, rig.told) == ([], [])
    rig.alerts.raise_alert(SLOW, why="still")
    rig.wait(60)
    assert rig.names == ["slow_down"]
    assert rig.told[0].raised_at == rig.now


def test_what_happens_ends_by_itself() -> None:
    """Something that happened is an alert until it has not happened again for its time."""
    rig = Rig()
    rig.alerts.raise_alert(PASSING)
    rig.wait(299)
    rig.alerts.raise_alert(PASSING)
    rig.wait(299)
    assert rig.names == ["it_happened"]
    rig.wait(1)
    assert (rig.names, len(rig.told)) == ([], 2)


def test_observing_all_of_a_kind() -> None:
    """What is looked at as a whole begins, goes on and ends by what was found; other kinds are not touched."""
    rig = Rig()
    rig.alerts.raise_alert(PLAIN)
    rig.alerts.observe(DOWN, {("a",): "one", ("b",): "two"})
    rig.alerts.observe(DOWN, {("b",): "two", ("c",): "three"})
    assert {(alert.kind.name, *alert.values) for alert in rig.alerts.active()} == {
        ("carrier_down", "b"), ("carrier_down", "c"), ("store_failing",),
    }  # fmt: skip
    rig.alerts.observe(DOWN, {})
    assert rig.names == ["store_failing"]


def test_observing_something_that_has_to_last() -> None:
    """A condition that is found at each look becomes an alert after its time."""
    rig = Rig()
    for _ in range(61):
        rig.alerts.observe(SLOW, {(): ""})
        assert rig.names == []
        rig.wait(0.99)
    rig.alerts.observe(SLOW, {(): ""})
    assert rig.names == ["slow_down"]


def test_labels_are_bounded() -> None:
    """However many labels there are, so many alerts of a kind are active at most, and they all end."""
    rig = Rig()
    many: dict[tuple[str, ...], str] = {(f"carrier-{number}",): "" for number in range(3 * MOST_EACH)}
    rig.alerts.observe(DOWN, many)
    assert len(rig.alerts.active()) == MOST_EACH + 1
    assert rig.alerts.active()[-1].values == (OTHER,)
    rig.alerts.observe(DOWN, many)
    assert len(rig.alerts.active()) == MOST_EACH + 1
    rig.alerts.observe(DOWN, {})
    assert rig.names == []
    for number in range(10 * MOST_EACH):
        rig.alerts.raise_alert(DOWN, f"next-{number}")
        rig.alerts.resolve(DOWN, f"next-{number}")
    assert len(rig.alerts.rows()) <= 2 * MOST_EACH + 3


@pytest.mark.parametrize("value", ["", "+4915112345678", "a b", "x" * 129, "acme\n", "é"])
def test_what_is_no_label(value: str) -> None:
    """A value that no configuration has is not shown."""
    rig = Rig()
    rig.alerts.raise_alert(DOWN, value)
    assert rig.alerts.active()[0].values == (OTHER,)


def test_why_is_bounded_and_redacted() -> None:
    """The text passes through the process's own redaction, acts on no terminal, and has an end."""
    rig = Rig()
    rig.alerts.raise_alert(PLAIN, why="code 4711\x1b[2J" + "x" * 1000)
    (alert,) = rig.alerts.active()
    assert alert.why.startswith("code XXXX\\x1b[2J")
    assert len(alert.why) <= MOST_WHY + 3


def test_misuse() -> None:
    """Labels that a kind has not, and kinds that this process has not, are faults of the program."""
    rig = Rig()
    with pytest.raises(ValueError, match="has the labels"):
        rig.alerts.raise_alert(DOWN)
    with pytest.raises(ValueError, match="none of the alerts"):
        rig.alerts.raise_alert(AlertKind(name="made_up", severity=Severity.INFO, summary=""))
    with pytest.raises(ValueError, match="is none"):
        AlertKind(name="Made-Up", severity=Severity.INFO, summary="")


def test_the_gravest_comes_first() -> None:
    """Active alerts are told in the order in which somebody has to look at them."""
    rig = Rig()
    rig.alerts.raise_alert(PASSING)
    rig.alerts.raise_alert(SLOW)
    rig.wait(60)
    rig.alerts.raise_alert(PLAIN)
    assert rig.names == ["store_failing", "slow_down", "it_happened"]


def test_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Each change is one line, as grave as the alert, with what somebody needs at night."""
    rig = Rig()
    with caplog.at_level(logging.INFO, "visibility.alerts"):
        rig.alerts.raise_alert(DOWN, "acme", why="no route to host")
        rig.alerts.raise_alert(DOWN, "acme", why="no route to host")
        rig.wait(2)
        rig.alerts.resolve(DOWN, "acme")
    first, second = caplog.records
    assert (first.levelno, first.message, second.levelno, second.message) == (
        logging.ERROR, "alert_raised", logging.INFO, "alert_resolved",
    )  # fmt: skip
    fields = vars(first)
    assert (fields["alert"], fields["labels"], fields["why"]) == (
        "carrier_down",
        {"carrier": "acme"},
        "no route to host",
    )
    assert fields["runbook"] == "docs/runbook.md#carrier_down"
    assert vars(second)["lasted_s"] == 2.0


def test_rows() -> None:
    """A kind without labels is always there; another one from when it is first raised; all have the same labels."""
    rig = Rig()
    assert {labels["name"] for _, labels in rig.alerts.rows()} == {"slow_down", "it_happened", "store_failing"}
    rig.alerts.raise_alert(DOWN, "acme")
    rig.alerts.raise_alert(PLAIN)
    rig.alerts.resolve(DOWN, "acme")
    values = {labels["name"]: value for value, labels in rig.alerts.rows()}
    assert values == {"slow_down": 0, "it_happened": 0, "store_failing": 1, "carrier_down": 0}
    assert {frozenset(labels) for _, labels in rig.alerts.rows()} == {frozenset({"name", "severity", "carrier"})}
    assert {labels["name"]: count for count, labels in rig.alerts.raised()}["carrier_down"] == 1


def test_a_listener_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the others are told."""
    told: list[Alert] = []

    def fails(alert: Alert) -> None:
        raise OSError("gone")

    alerts = Alerts((PLAIN,), lambda: 0, listeners=[fails])
    alerts.listen(told.append)
    alerts.raise_alert(PLAIN)
    assert len(told) == 1
    assert "alert_not_told" in caplog.text


def test_many_threads() -> None:
    """Threads that raise and resolve the same alert leave it told in turns: raised, resolved, raised ..."""
    rig = Rig()
    start = threading.Barrier(4)

    def work() -> None:
        start.wait(10)
        for _ in range(300):
            rig.alerts.raise_alert(PLAIN)
            rig.alerts.resolve(PLAIN)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert rig.names == []
    turns = [bool(alert.resolved_at) for alert in rig.told]
    assert turns == [False, True] * (len(turns) // 2)
