"""Packed columns: the server reads what was packed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import psycopg
import pytest
from hypothesis import given
from psycopg.types.numeric import Int8BinaryDumper

from gateway.store.postgres.arrays import PACKERS, bigints, byteas, texts
from gateway.store.postgres.session import Packed, Session
from tests.postgres.server import shared

_NUMBERS = st.integers(-(2**63), 2**63 - 1)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """Give a session with the server of the tests."""
    opened = Session(shared().connect("postgres"))
    yield opened
    opened.close()


def _read_back(session: Session, kind: str, column: list[Any]) -> list[Any]:
    type_, pack = PACKERS[kind]
    return [value for (value,) in session.fetch(f"SELECT unnest($1::{type_})", [Packed.of(kind)(pack(column))])]


@given(column=st.lists(st.none() | _NUMBERS, min_size=1))
def test_numbers(session: Session, column: list[int | None]) -> None:
    """Numbers of 64 bits, with NULLs and without."""
    assert _read_back(session, "int", column) == column


@given(column=st.lists(st.none() | st.binary(), min_size=1))
def test_octets(session: Session, column: list[bytes | None]) -> None:
    """Octets, with NULLs and without."""
    assert _read_back(session, "bytes", column) == column


@given(column=st.lists(st.none() | _TEXTS, min_size=1))
def test_texts(session: Session, column: list[str | None]) -> None:
    """Texts of all alphabets, with NULLs and without."""
    assert _read_back(session, "text", column) == column


def test_the_octets_of_psycopg() -> None:
    """What psycopg itself makes of a list is the same."""
    from psycopg.adapt import Transformer
    from psycopg.types.array import ListBinaryDumper

    adapters = psycopg.adapters.__class__(psycopg.adapters)
    adapters.register_dumper(int, Int8BinaryDumper)

    class Context:
        connection = None

    Context.adapters = adapters  # type: ignore[attr-defined]  # what a Transformer looks for
    dumper = ListBinaryDumper(list, Transformer.from_context(Context()))  # type: ignore[arg-type]  # as far as is needed
    assert bytes(dumper.upgrade([1], psycopg.adapt.PyFormat.BINARY).dump([1, -2, 3]) or b"") == bigints([1, -2, 3])


@pytest.mark.parametrize(("pack", "column"), [(bigints, ["x"]), (bigints, [2**63]), (texts, ["\ud800"]), (byteas, [5])])
def test_what_cannot_be_packed(pack: Any, column: list[Any]) -> None:
    """A value of another kind is an error here, before anything is sent."""
    with pytest.raises((TypeError, OverflowError, UnicodeEncodeError)):
        pack(column)
