"""When the peer is asked whether it lives, and when it is taken for dead."""

from __future__ import annotations

from carrier.smpp.liveness import Liveness


def test_questions_and_verdict() -> None:
    """Row 16: a question after each silence, and the verdict when two were not answered."""
    liveness = Liveness(30, now=100)
    dues, verdicts = [], []
    for sequence in (1, 2):
        dues.append(liveness.due_at)
        verdicts.append(liveness.dead)
        liveness.asked.add(sequence)
    assert (dues, verdicts, liveness.due_at, liveness.dead) == ([130, 160], [False, False], 190, True)


def test_a_sign_of_life_starts_anew() -> None:
    """Whatever is heard answers all questions."""
    liveness = Liveness(30, now=0)
    liveness.asked |= {1, 2}
    liveness.heard(50)
    assert (liveness.dead, liveness.due_at, liveness.asked) == (False, 80, set())
