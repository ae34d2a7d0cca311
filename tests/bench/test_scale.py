"""What is measured against stored messages: every kind of work, once, and its picture."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import chart, nodes, scale
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


def test_both_parts_are_told_and_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nodes cost that share a database stands beside it, with a picture of its own."""
    shared = [
        nodes.Shared(
            nodes=count, messages=10, cpu_us=100.0 + count, server_us=50.0, receipted_per_s=9e3, peak_bytes=10**8
        )
        for count in (1, 2)
    ]
    monkeypatch.setattr(nodes, "measure", lambda: shared)
    monkeypatch.setattr("bench.results.FOLDER", tmp_path)
    monkeypatch.setattr("sys.argv", ["scale", "--only", "nodes"])
    assert scale.main() == 0
    assert "102" in capsys.readouterr().out
    (kept,) = tmp_path.glob("scale-*.json")
    assert json.loads(kept.read_text())["nodes"][1]["cpu_us"] == 102.0
    (picture,) = tmp_path.glob("nodes-*.svg")
    assert len(ET.fromstring(picture.read_text()).findall("{*}polyline")) == 2  # noqa: S314 - ours


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
