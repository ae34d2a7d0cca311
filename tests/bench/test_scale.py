"""What is measured against stored messages: every kind of work, once, and its picture."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import chart, scale
from bench.scale import grow_and_measure, table


def test_grown_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each size each kind of work has its cost, as a row of the table and a panel of the picture."""
    monkeypatch.setattr(scale, "_WHOLE_WAY", 12)
    monkeypatch.setattr(scale, "_CALLS", 2)
    sizes = grow_and_measure(tmp_path, [1_000, 3_000])
    assert [size.stored for size in sizes] == [1_000, 3_000]
    assert all(cost.cpu_us >= 0 and cost.call_ms > 0 for size in sizes for cost in size.costs)
    works = [cost.work for cost in sizes[0].costs]
    assert works == [cost.work for cost in sizes[1].costs]
    assert all(work in table(sizes) for work in works)
    picture = chart.svg(scale._panels(sizes), "title", "messages stored")
    assert len(ET.fromstring(picture).findall("{*}polyline")) == len(works)  # noqa: S314 - ours


def test_nodes_are_refused_until_there_can_be_several(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--nodes` says what is missing, and measures nothing."""
    monkeypatch.setattr("sys.argv", ["bench.scale", "--nodes", "2"])
    assert scale.main() == 2
    assert "only one node on a database" in capsys.readouterr().err


def test_points_lie_where_they_should() -> None:
    """A hundred times as many lies twice as far to the right as ten times as many; twice as much is twice as high."""
    picture = ET.fromstring(chart.svg({"work": [(10, 1.0), (100, 2.0), (1000, 2.0)]}, "t", "x"))  # noqa: S314
    places = [(float(dot.get("cx", 0)), float(dot.get("cy", 0))) for dot in picture.findall("{*}circle")]
    (x0, y0), (x1, y1), (x2, y2) = places
    assert x2 - x0 == pytest.approx(2 * (x1 - x0), abs=0.2)
    base = y0 + (y0 - y1)
    assert base - y1 == pytest.approx(2 * (base - y0), abs=0.2)
    assert y1 == y2
    assert "10³" in "".join(picture.itertext())
