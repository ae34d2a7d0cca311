"""What the benchmark reads of a node."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from bench import inside

PAGE = (
    b"# HELP smsgw_policy_evaluations_total Decisions that no recent one answered.\n"
    b"# TYPE smsgw_policy_evaluations_total counter\n"
    b"smsgw_policy_evaluations_total 1.25e+03\n"
    b'smsgw_policy_denials_total{action="send"} 7.0\n'
)


def test_evaluations_of_a_page() -> None:
    """The value is that of the one metric; a page without it is an error, not a perfect cache."""
    assert inside.evaluations(PAGE) == 1250
    with pytest.raises(ValueError, match="smsgw_policy_evaluations_total"):
        inside.evaluations(b"smsgw_policy_denials_total 7.0\n")


def test_the_share_of_hits() -> None:
    """A call asks once, a message twice: a thousand messages in ten calls ask 2,010 times."""
    assert inside.hit_rate(201, 10, 1000) == pytest.approx(0.9)
    assert inside.hit_rate(0, 1, 1) == 1


def test_the_octets_of_an_audit(tmp_path: Path) -> None:
    """They are those of all commits; an empty audit has none."""
    file = tmp_path / "smsgw.db"
    db = apsw.Connection(str(file))
    db.execute("CREATE TABLE audit_commit (seq INTEGER PRIMARY KEY, records BLOB NOT NULL)")
    assert inside.audit_bytes(file) == 0
    db.execute("INSERT INTO audit_commit (records) VALUES (x'0102'), (x'030405')")
    assert inside.audit_bytes(file) == 5
    db.close()
