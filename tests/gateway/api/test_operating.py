"""What operators do, on its way into the audit."""

from __future__ import annotations

import pytest

from gateway.api.operating import MAX_REASON, reason_of
from gateway.errors import InvalidRequest


def test_reasons_are_one_plain_line() -> None:
    """A reason is kept as one line that acts on no terminal, and is bounded as it is kept."""
    assert reason_of("  their\n receipts\tare wrong ") == "their receipts are wrong"
    assert "\x1b" not in reason_of("red \x1b[31m")
    assert reason_of("x" * MAX_REASON) == "x" * MAX_REASON
    assert reason_of("", required=False) == ""


@pytest.mark.parametrize(
    ("text", "required", "reason"),
    [
        ("", True, "REASON_REQUIRED"),
        (" \n ", True, "REASON_REQUIRED"),
        ("x" * (MAX_REASON + 1), True, "REASON_TOO_LONG"),
        ("x" * (MAX_REASON + 1), False, "REASON_TOO_LONG"),
        ("\x1b" * MAX_REASON, True, "REASON_TOO_LONG"),
    ],
)
def test_reasons_that_are_none(text: str, required: bool, reason: str) -> None:
    """None where one is required, and one that is too long, are told by field."""
    with pytest.raises(InvalidRequest) as refused:
        reason_of(text, required=required)
    assert refused.value.reason == reason
    assert refused.value.violations[0].field == "reason"
