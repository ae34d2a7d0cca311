"""Hypothesis strategies for PDUs, made from the layout table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from carrier.smpp.layouts import LAYOUTS, Field, Form, Layout
from carrier.smpp.messages import DistributionList, Pdu, SmeAddress, UnsuccessSme
from carrier.smpp.tlv import Tlv

OCTETS = st.integers(0, 255)
TLVS = st.lists(st.builds(Tlv, st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=4).map(tuple)


def cstring(size: int) -> st.SearchStrategy[bytes]:
    """C-octet strings of at most `size` octets with their NUL."""
    return st.binary(max_size=size - 1).map(lambda octets: octets.replace(b"\0", b"0"))


def field(form: Field) -> st.SearchStrategy[Any]:
    """Valid values of one field."""
    address = (OCTETS, OCTETS, cstring(21))
    made: dict[Form, st.SearchStrategy[Any]] = {
        Form.INTEGER: OCTETS,
        Form.CSTRING: cstring(form.size),
        Form.TIME: st.sampled_from([b"", b"000000010000000R", b"260131235959032+"]),
        Form.SHORT_MESSAGE: st.binary(max_size=form.size),
        Form.DESTINATIONS: st.lists(
            st.one_of(st.builds(SmeAddress, *address), st.builds(DistributionList, cstring(21))), min_size=1, max_size=4
        ).map(tuple),
        Form.UNSUCCESSFUL: st.lists(st.builds(UnsuccessSme, *address, st.integers(0, 0xFFFFFFFF)), max_size=4).map(
            tuple
        ),
    }
    return made[form.form]


def pdus_of(layout: Layout) -> st.SearchStrategy[Pdu]:
    """Valid PDUs of one kind."""
    build: Callable[..., Pdu] = layout.pdu_type
    return st.builds(build, *(field(form) for form in layout.fields), TLVS)


PDUS: st.SearchStrategy[Pdu] = st.sampled_from(sorted(LAYOUTS)).flatmap(lambda code: pdus_of(LAYOUTS[code]))
