"""From the call to the wire."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import traffic
from bench.latency import arrivals, to_submit_us


def log(path: Path, *lines: tuple[int, int]) -> Path:
    """Write the log of a sink: number of the message, time; its path."""
    path.write_text("".join(f"{traffic.recipient(number).lstrip('+')}\t{at_ns}\n" for number, at_ns in lines))
    return path


def test_each_message_of_a_call_has_its_own_span(tmp_path: Path) -> None:
    """Batches of two, the last of one: from the call's beginning to each message's first arrival."""
    came = arrivals(log(tmp_path / "log", (11, 9_000), (10, 5_000), (12, 20_000), (10, 90_000)))
    assert to_submit_us([(10, 1_000), (12, 2_000)], 2, came, 13) == [4, 8, 18]


@pytest.mark.parametrize("lines", [((10, 5_000),), ((10, 5_000), (11, 500))])
def test_what_cannot_be_is_an_error(tmp_path: Path, lines: tuple[tuple[int, int], ...]) -> None:
    """A message that never came, or came before its call, is no figure."""
    came = arrivals(log(tmp_path / "log", *lines))
    with pytest.raises(ValueError, match="no arrival"):
        to_submit_us([(10, 4_000)], 2, came, 12)
