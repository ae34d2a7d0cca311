"""Rows 17 to 25: binds, odd answers, TLVs and versions, over TLS to the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from carrier.contract import LinkState, Outcome, Request
from carrier.profile import Binding, Receiver, Secret
from carrier.simulator.script_file import parse_script
from carrier.simulator.simulator import Simulator
from carrier.smpp.constants import SEQUENCE_MAX, CommandId, Status, Tag
from carrier.smpp.pdu import HEADER, DataSm, QuerySm
from carrier.smpp.tlv import TRAILING, find
from carrier.statuses import Action, action_for, with_overrides
from tests.quirks.linked import Wire, linked, server_context
from tests.quirks.way import Files

_CUT_OFF = "trailing: '14 01 00 09 61'"  # a TLV that says to be longer than what is left
_INBOUND = "inbound: [{from: '4915112345678', to: '80800', text: hi}]"


def asked(wire: Wire, command: str) -> int:
    """Return how many requests of a kind came to the carrier."""
    return sum(seen.command == command for seen in wire.simulator.seen)


async def outcome(wire: Wire) -> tuple[Outcome, int, str]:
    """Submit one message, and return what became of it: outcome, status, id."""
    known = len(wire.driver.results)
    wire.submit(1)
    await wire.until(lambda: len(wire.driver.results) > known)
    result = wire.driver.results[-1]
    return result.outcome, result.status, result.message_id


async def test_row_17_a_pair_where_there_are_no_transceivers(files: Files) -> None:
    """Row 17: with bind.mode pair messages leave by the transmitter, and their receipts come by the receiver."""
    pair = Binding(receiver=Receiver())
    async with linked(files, "binds: {kinds: [transmitter, receiver]}", binding=pair) as wire:
        await wire.until(lambda: all(bind.state is LinkState.BOUND for bind in wire.link.stats().binds))
        assert (await outcome(wire))[1] == 0
        await wire.until(lambda: bool(wire.driver.deliveries))
        wire.link.answer([(wire.driver.deliveries[0].ticket, 0)])
        await wire.until(lambda: asked(wire, "deliver_sm_resp") == 1)
        kinds = {seen.connection: seen.command for seen in wire.simulator.seen if seen.command.startswith("bind")}
        (answered_by,) = [seen.connection for seen in wire.simulator.seen if seen.command == "deliver_sm_resp"]
        assert kinds[wire.simulator.received[0].connection] == "bind_transmitter"
        assert kinds[answered_by] == "bind_receiver"


@pytest.mark.parametrize(
    ("kinds", "binding", "asks"),
    [
        ("[transmitter, receiver]", Binding(), {"bind_transceiver"}),
        ("[transceiver]", Binding(receiver=Receiver()), {"bind_transmitter", "bind_receiver"}),
    ],
)
async def test_row_17_no_silent_fallback(files: Files, kinds: str, binding: Binding, asks: set[str]) -> None:
    """Row 17: a mode that the carrier does not take is told, and no other is tried."""
    async with linked(files, f"binds: {{kinds: {kinds}}}", binding=binding, wait=False) as wire:
        await wire.until(lambda: len([why for why in wire.why() if "ESME_RINVCMDID" in why]) >= 2 * len(asks))
        assert {seen.command for seen in wire.simulator.seen} == asks
        assert wire.simulator.stats()["binds"] == 0


async def test_row_17_a_receiver_at_another_host(files: Files) -> None:
    """Row 17: the receiver has its own port and credentials; what arrives there is delivered, what is sent goes to the
    transmitter's carrier alone."""
    other = Simulator(
        parse_script(f"system_id: rx\npassword: other\n{_INBOUND}"), server_context(files.certificate, files.key)
    )
    await other.start()
    try:
        receiver = Receiver(port=other.port, system_id="rx", password=Secret(b"other"))
        async with linked(files, "system_id: user\npassword: secret", binding=Binding(receiver=receiver)) as wire:
            await wire.until(lambda: bool(wire.driver.deliveries))
            assert (await outcome(wire))[1] == 0
            assert (other.stats()["binds"], len(other.received)) == (1, 0)
            assert len(wire.simulator.received) == 1
    finally:
        await other.stop()


@pytest.mark.parametrize(("operations", "remembered"), [("{query: nack}", True), ("{query: fail}", False)])
async def test_row_18_a_command_that_is_nacked_is_remembered(files: Files, operations: str, remembered: bool) -> None:
    """Row 18: a carrier that nacks query_sm is not asked again; one that knows the command and not the message is."""
    async with linked(files, f"operations: {operations}") as wire:
        for number in range(3):
            wire.link.request([Request(number, QuerySm(b"no such id"))])
            await wire.until(lambda number=number: len(wire.driver.request_results) == number + 1)  # type: ignore[misc]
        assert wire.link.supports(CommandId.QUERY_SM) is not remembered
        assert asked(wire, "query_sm") == (1 if remembered else 3)
        expected = Status.ESME_RINVCMDID if remembered else Status.ESME_RQUERYFAIL
        assert {result.status for result in wire.driver.request_results} == {expected}


async def test_row_18_a_nack_answers_a_submit_sm(files: Files) -> None:
    """Row 18: a generic_nack with the number of a submit_sm is its answer, with its status; the next one is served."""
    script = "answers: [{to: submit_sm, with: generic_nack, status: ESME_RSYSERR, times: 1}]"
    async with linked(files, script) as wire:
        assert await outcome(wire) == (Outcome.ANSWERED, Status.ESME_RSYSERR, "")
        assert (await outcome(wire))[1] == 0
        assert wire.simulator.stats()["binds"] == 1


async def test_row_18_a_nack_that_names_nothing(files: Files) -> None:
    """Row 18: a generic_nack with sequence 0 answers nothing: the submission is in doubt in time, the bind stays."""
    script = "answers: [{to: submit_sm, with: generic_nack_0, times: 1}]"
    async with linked(files, script, response_timeout_s=1.5) as wire:
        assert (await outcome(wire))[0] is Outcome.IN_DOUBT
        assert (await outcome(wire))[:2] == (Outcome.ANSWERED, 0)
        assert wire.simulator.stats()["binds"] == 1


async def test_row_18_a_length_that_cannot_be(files: Files) -> None:
    """Row 18: a bad command_length is nacked with ESME_RINVCMDLEN under sequence 0, and the connection is closed."""
    async with linked(files, "answers: [{to: submit_sm, with: bad_length, times: 1}]") as wire:
        assert (await outcome(wire))[0] is Outcome.IN_DOUBT
        await wire.until(lambda: wire.simulator.stats()["binds"] == 2)
        (nack,) = [seen for seen in wire.simulator.seen if seen.command == "generic_nack"]
        assert (nack.status, nack.sequence) == (Status.ESME_RINVCMDLEN, 0)
        await wire.bound()
        assert (await outcome(wire))[1] == 0


async def test_row_18_numbers_wrap(files: Files) -> None:
    """Row 18: after 0x7FFFFFFF comes 1, and each answer still finds its submission."""
    async with linked(files) as wire:
        sent: list[int] = []
        wire.link.tap(lambda _, out, pdu: sent.append(HEADER.unpack_from(pdu)[3]) if out else None)
        connection = wire.link._first.connection
        assert connection is not None
        connection._session._sequence = SEQUENCE_MAX - 1
        wire.submit(4)
        await wire.until(lambda: len(wire.driver.results) == 4)
        assert sent[:4] == [SEQUENCE_MAX - 1, SEQUENCE_MAX, 1, 2]
        assert [result.key for result in wire.driver.results] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("rule", "status"),
    [("{tag: 0x1400}", 0xC3), ("{tag: 0x1400, missing: 0xC4}", 0xC4), ("{tag: 9, missing: 0x45B}", 0x45B)],
)
async def test_row_19_statuses_of_their_own(files: Files, rule: str, status: int) -> None:
    """Row 19: what vendors answer arrives as it is, and is final unless the profile says otherwise."""
    async with linked(files, f"required_tlvs: [{rule}]") as wire:
        assert await outcome(wire) == (Outcome.ANSWERED, status, "")
        assert action_for(wire.profile, status) is Action.FAIL


@pytest.mark.parametrize(
    ("action", "binds", "slows"),
    [(Action.FAIL, 1, False), (Action.RETRY | Action.REBIND, 2, False), (Action.RETRY | Action.SLOW_DOWN, 1, True)],
)
async def test_row_19_what_a_profile_makes_of_them(files: Files, action: Action, binds: int, slows: bool) -> None:
    """Row 19: a vendor's status fails, renews the bind or slows down, as the profile maps it."""
    script = "errors: [{every: 1, times: 1, status: 0x45B}]"
    async with linked(files, script, statuses=with_overrides({0x45B: action})) as wire:
        assert (await outcome(wire))[1] == 0x45B
        await wire.until(lambda: wire.simulator.stats()["binds"] == binds and wire.link.state is LinkState.BOUND)
        assert (await outcome(wire))[1] == 0
        assert (wire.link.stats().slow_factor < 1.0) is slows
        assert wire.simulator.stats()["binds"] == binds


async def test_row_20_tlvs_that_nobody_knows(files: Files) -> None:
    """Row 20: unknown, misplaced and cut-off TLVs of responses, receipts and bind responses are kept raw, and cost
    neither the PDU nor the session."""
    odd = "tlvs: [{tag: 0x1500, text: abc}, {tag: 0x0427, value: '02 02 02'}]"
    script = f"binds: {{{odd}}}\nresponses: {{{odd}, {_CUT_OFF}}}\nreceipts: {{{odd}, {_CUT_OFF}}}"
    async with linked(files, script) as wire:
        known, status, message_id = await outcome(wire)
        assert (known, status, message_id) == (Outcome.ANSWERED, 0, wire.simulator.received[0].message_id)
        await wire.until(lambda: bool(wire.driver.deliveries))
        tlvs = wire.driver.deliveries[0].pdu.tlvs
        assert find(tlvs, 0x1500) == b"abc"  # octets: not ended by a NUL
        assert (Tag.MESSAGE_STATE, b"\2\2\2") in tlvs
        assert find(tlvs, TRAILING) == bytes.fromhex("1401000961")
        assert (await outcome(wire))[1] == 0
        assert (wire.simulator.stats()["binds"], wire.link.stats().malformed) == (1, 0)


@pytest.mark.parametrize("body", ["absent", "empty", "tlv"])
async def test_row_21_errors_with_any_body(files: Files, body: str) -> None:
    """Row 21: an error without a body, with an empty id, or with TLVs gives its status, and the session goes on."""
    script = f"responses: {{error_body: {body}}}\nerrors: [{{every: 1, times: 1, status: ESME_RINVDSTADR}}]"
    async with linked(files, script) as wire:
        assert await outcome(wire) == (Outcome.ANSWERED, Status.ESME_RINVDSTADR, "")
        assert (await outcome(wire))[1] == 0
        assert (wire.simulator.stats()["binds"], wire.link.stats().malformed) == (1, 0)


@pytest.mark.parametrize(
    ("body", "has_id"), [("full", True), ("unterminated", True), ("empty", False), ("absent", False)]
)
async def test_row_21_successes_with_any_body(files: Files, body: str, has_id: bool) -> None:
    """Row 21: a success is one whatever its body; an id without its NUL is an id."""
    async with linked(files, f"responses: {{body: {body}}}") as wire:
        known, status, message_id = await outcome(wire)
        assert (known, status) == (Outcome.ANSWERED, 0)
        assert message_id == (wire.simulator.received[0].message_id if has_id else "")


@pytest.mark.parametrize(
    ("binds", "assumed", "data_sm"),
    [
        ("interface_version: none", 0x33, False),
        ("interface_version: none", 0x34, True),
        ("interface_version: 0x34", 0x33, True),
        ("interface_version: 0x33", 0x34, False),
        ("interface_version: 7", 0x33, False),
        ("interface_version: none, tlvs: [{tag: 0x0210, value: '00 34 00 00 09'}]", 0x33, False),
    ],
)
async def test_row_22_versions(files: Files, binds: str, assumed: int, data_sm: bool) -> None:
    """Row 22: a carrier that states no version is as the profile assumes, 3.3 by default; no value, however odd, costs
    the bind or what the carrier delivers."""
    script = f"binds: {{{binds}}}\noperations: {{data: answer}}\n{_INBOUND}"
    async with linked(files, script, binding=Binding(assumed_version=assumed)) as wire:
        await wire.until(lambda: bool(wire.driver.deliveries))
        assert (await outcome(wire))[1] == 0
        assert wire.link.supports(CommandId.DATA_SM) is data_sm
        wire.link.request([Request("d", DataSm(destination_addr=b"4915112345678"))])
        await wire.until(lambda: bool(wire.driver.request_results))
        assert (wire.driver.request_results[0].status == 0) is data_sm
        assert wire.simulator.stats()["binds"] == 1


@pytest.mark.parametrize(
    ("state", "factors"), [(10, (1.0, 1.0)), (85, (1.0, 1.0)), (95, (0.86, 0.95)), (100, (0.49, 0.6))]
)
async def test_row_24_congestion_state(files: Files, state: int, factors: tuple[float, float]) -> None:
    """Row 24: congestion_state in ordinary responses cuts the pace a little from 90 on, and by half at 100."""
    async with linked(files, f"responses: {{congestion: [{state}]}}") as wire:
        assert (await outcome(wire))[1] == 0
        assert factors[0] <= wire.link.stats().slow_factor <= factors[1]


@pytest.mark.parametrize(
    ("script", "password", "bound"),
    [
        (f"password: {'p' * 64}", b"p" * 64, True),
        (f"password: {'p' * 64}", b"p" * 63 + b"q", False),
        ("binds: {longest_password: 8}", b"p" * 8, True),
        ("binds: {longest_password: 8}", b"p" * 9, False),
    ],
)
async def test_row_25_long_passwords(files: Files, script: str, password: bytes, bound: bool) -> None:
    """Row 25: a password of up to 64 characters is sent whole; a carrier that does not take it says so."""
    settings: dict[str, Any] = {"password": Secret(password)}
    async with linked(files, script, wait=bound, **settings) as wire:
        if not bound:
            await wire.until(lambda: wire.link.state is LinkState.BACKOFF)
            assert "refused the bind: ESME_RINVPASWD" in wire.why()[-1]
        assert (wire.simulator.stats()["binds"] == 1) is bound
