"""What `make bench-lanes` tells."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from bench import lanes
from bench.lanes import Outcome
from tests.appliance import ProcessFailed

OUTCOME = Outcome(
    waiting=1_000_000, filled_s=120.0, filled_per_s=8_333.3, otps=6_000, otp_p50_ms=4.04, otp_p99_ms=21.26,
    otp_most_ms=44.0, call_p50_ms=3.0, call_p99_ms=20.0, carrier_per_s=499.6, promotions_per_s=299.6,
    resident_mb=180.4, peak_mb=190.4,
)  # fmt: skip


def test_a_run_is_told_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures stand beside the design's line and aim; the file has all of them."""
    asked: list[tuple[int, int]] = []

    def run(waiting: int, otps: int) -> Outcome:
        asked.append((waiting, otps))
        return OUTCOME

    monkeypatch.setattr(lanes, "run", run)
    monkeypatch.setattr("bench.results.FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["lanes", "--waiting", "5000", "--seconds", "3"])
    assert lanes.main() == 0
    told = capsys.readouterr().out
    assert asked == [(5_000, 600)]
    assert told.splitlines()[2].split()[-3:] == ["21.3", "50", "25"]
    assert "500, 300" in told
    (kept,) = tmp_path.glob("lanes-*.json")
    assert asdict(OUTCOME).items() <= json.loads(kept.read_text()).items()


def test_a_run_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with an error that says why."""

    def fail(*wanted: int) -> Outcome:
        raise ProcessFailed("promotions do not saturate the carrier")

    monkeypatch.setattr(lanes, "run", fail)
    monkeypatch.setattr(sys, "argv", ["lanes"])
    assert lanes.main() == 1
    assert "do not saturate" in capsys.readouterr().err
