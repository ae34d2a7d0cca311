"""The numbers of SMPP."""

from __future__ import annotations

import pytest
from smpplib import consts

from carrier.smpp.constants import (
    STATUS_NAMES,
    CommandId,
    MessageState,
    Status,
    Tag,
    command_name,
    status_description,
    status_name,
)


@pytest.mark.parametrize(
    ("status", "name"),
    [(0, "ESME_ROK"), (0x58, "ESME_RTHROTTLED"), (0xC3, "ESME_RMISSINGOPTPARAM"), (0x401, "0x00000401")],
)
def test_status_name(status: int, name: str) -> None:
    """A status of the specification has its name, a carrier's own its number."""
    assert status_name(status) == name


def test_status_description_says_what_it_means() -> None:
    """A description begins with the name, and admits not to know."""
    assert status_description(Status.ESME_RTHROTTLED).startswith("ESME_RTHROTTLED: Throttling error")
    assert status_description(0x401) == "0x00000401: not defined by SMPP"


def test_command_name() -> None:
    """cancel_sm and replace_sm have names although smpplib has no PDU for them."""
    assert [command_name(n) for n in (4, 7, 8, 0x80000008, 0x666)] == [
        "submit_sm", "replace_sm", "cancel_sm", "cancel_sm_resp", "0x00000666",
    ]  # fmt: skip


def test_every_status_and_tag_of_smpplib_is_ours() -> None:
    """A number that smpplib learns in an update is missed here, not in production."""
    theirs = {value for name, value in vars(consts).items() if name.startswith("SMPP_ESME_")}
    assert theirs == {status for status in STATUS_NAMES if status < 0x100}  # it has those of SMPP 3.4
    assert set(consts.OPTIONAL_PARAMS.values()) <= set(Tag)


def test_numbers_of_the_specification() -> None:
    """A few numbers are held against SMPP 3.4 §5.1.2.1 and §5.3.2, not against smpplib."""
    assert (CommandId.BIND_TRANSCEIVER, CommandId.DATA_SM_RESP, CommandId.GENERIC_NACK) == (9, 0x80000103, 0x80000000)
    assert (Tag.RECEIPTED_MESSAGE_ID, Tag.MESSAGE_PAYLOAD, Tag.MESSAGE_STATE) == (0x1E, 0x424, 0x427)


def test_message_states() -> None:
    """SMPP 5.0 adds a state before and one after those of 3.4."""
    assert [state.name for state in MessageState] == [
        "SCHEDULED", "ENROUTE", "DELIVERED", "EXPIRED", "DELETED", "UNDELIVERABLE", "ACCEPTED", "UNKNOWN", "REJECTED",
        "SKIPPED",
    ]  # fmt: skip
    assert [int(state) for state in MessageState] == list(range(10))
