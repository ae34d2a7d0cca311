"""Requests beside submit_sm: what the link says of them itself, and over a socket what the carrier says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from carrier.contract import LinkState, Outcome, Request, RequestResult
from carrier.link import SmppLink
from carrier.pacing import Pacer
from carrier.profile import Binding
from carrier.requests import is_refusal, sort_out
from carrier.smpp.constants import CommandId, Status
from carrier.smpp.pdu import CancelSm, CancelSmResp, DataSm, Pdu, QuerySm, QuerySmResp, ReplaceSm
from carrier.staging import MAX_REQUESTS
from tests.carrier.driver import Driver, batch, profile_of, running
from tests.carrier.smsc import RESP, SUBMIT, Smsc, listening, pdu

QUERY, CANCEL = int(CommandId.QUERY_SM), int(CommandId.CANCEL_SM)
BOUND = LinkState.BOUND


def queries(count: int, first: int = 0) -> list[Request]:
    """Return queries numbered from `first`."""
    return [Request(number, QuerySm(b"id-%d" % number)) for number in range(first, first + count)]


@pytest.mark.parametrize(
    ("status", "response", "refuses"),
    [
        (Status.ESME_RINVCMDID, None, True),
        (Status.ESME_RINVCMDID, QuerySmResp(), True),
        (Status.ESME_RUNKNOWNERR, None, True),
        (Status.ESME_RUNKNOWNERR, QuerySmResp(), False),
        (Status.ESME_RTHROTTLED, None, False),
        (Status.ESME_RINVMSGID, QuerySmResp(), False),
        (0, None, False),
    ],
)
def test_what_refuses_a_command(status: int, response: Pdu | None, refuses: bool) -> None:
    """An unknown command, or a nack without a reason, is about the command; everything else about the message."""
    assert is_refusal(status, response) is refuses


def test_what_the_link_answers_itself() -> None:
    """A refused command and an id that no PDU holds are answered without the carrier; the rest goes."""
    good, bad, refused = Request(1, CancelSm()), Request(2, CancelSm(message_id=b"x" * 65)), Request(3, QuerySm(b"x"))
    assert sort_out([good, bad, refused], {CommandId.QUERY_SM}) == (
        [good],
        [
            RequestResult(2, Outcome.ANSWERED, Status.ESME_RINVPARLEN, None),
            RequestResult(3, Outcome.ANSWERED, Status.ESME_RINVCMDID, None),
        ],
    )


@asynccontextmanager
async def bound(window: int = 10, **changes: object) -> AsyncIterator[tuple[Smsc, SmppLink, Driver]]:
    """Run a bound link against a carrier."""
    async with listening() as smsc, running(profile_of(smsc.port, window=window, **changes)) as (link, driver):
        await driver.until_state(BOUND)
        yield smsc, link, driver


async def test_requests_and_their_answers() -> None:
    """Each kind of request goes out and comes back with its decoded response."""
    async with bound(binding=Binding(assumed_version=0x34)) as (smsc, link, driver):
        link.request(
            [Request("q", QuerySm(b"7")), Request("c", CancelSm(message_id=b"7")), Request("r", ReplaceSm(b"7")),
             Request("d", DataSm(destination_addr=b"49"))]
        )  # fmt: skip
        await smsc.until(lambda: len(smsc.log) == 5)
        assert [entry[0] for entry in smsc.log[1:]] == [QUERY, CANCEL, CommandId.REPLACE_SM, CommandId.DATA_SM]
        assert link.unanswered == 4
        for _, (command, _, sequence, _) in zip(range(4), smsc.log[1:], strict=True):
            body = b"7\0\0\x02\0" if command == QUERY else b"9\0" if command == CommandId.DATA_SM else b""
            smsc.peers[0].transport.write(pdu(command | RESP, sequence, body))
        await driver.until(lambda: len(driver.request_results) == 4)
        assert [(result.key, result.outcome, result.status) for result in driver.request_results] == [
            (key, Outcome.ANSWERED, 0) for key in "qcrd"
        ]
        assert driver.request_results[0].pdu == QuerySmResp(b"7", b"", 2, 0)
        assert driver.request_results[1].pdu == CancelSmResp()
        assert link.unanswered == 0


async def test_a_refused_command_is_remembered() -> None:
    """Row 18: after a generic_nack for query_sm later queries come back at once, over reconnects; cancels still go."""
    async with bound() as (smsc, link, driver):
        assert link.supports(CommandId.QUERY_SM)
        link.request(queries(1))
        await smsc.until(lambda: smsc.count(QUERY) == 1)
        smsc.peers[0].transport.write(pdu(RESP, smsc.log[-1][2], status=Status.ESME_RINVCMDID))
        await driver.until(lambda: len(driver.request_results) == 1)
        assert (link.supports(CommandId.QUERY_SM), link.supports(CommandId.CANCEL_SM)) == (False, True)
        smsc.peers[0].transport.abort()
        await driver.until_state(BOUND, 2)
        link.request([*queries(1, 1), Request("c", CancelSm(message_id=b"7"))])
        assert len(driver.request_results) == 1
        await driver.until(lambda: len(driver.request_results) == 2)
        assert driver.request_results == [
            RequestResult(n, Outcome.ANSWERED, Status.ESME_RINVCMDID, None) for n in (0, 1)
        ]
        await smsc.until(lambda: smsc.count(CANCEL) == 1)
        assert smsc.count(QUERY) == 1


async def test_requests_outside_bound_come_back() -> None:
    """Before the bind and beyond the bound nothing is kept: it comes back NOT_WRITTEN, and not within the call."""
    driver = Driver()
    link = SmppLink(profile_of(1), 0, driver, Pacer(1, now_ns=0))
    link.request(queries(2))
    link.request([])
    assert driver.request_results == []
    await driver.until(lambda: len(driver.request_results) == 2)
    assert {result.outcome for result in driver.request_results} == {Outcome.NOT_WRITTEN}


async def test_waiting_requests_are_bounded() -> None:
    """Beyond the bound each comes back; what was taken goes on."""
    async with bound(window=1) as (_, link, driver):
        link.request(queries(MAX_REQUESTS + 3))
        await driver.until(lambda: len(driver.request_results) == 3)
        assert [result.key for result in driver.request_results] == [MAX_REQUESTS + n for n in range(3)]


async def test_requests_share_the_window_and_are_not_starved() -> None:
    """Submissions go first, and yet a request gets its place while they never end."""
    async with bound(window=2) as (smsc, link, driver):
        smsc.answering = False
        link.submit(batch(4, lane=1))
        link.request(queries(1, 1000))
        sent = 4
        while not smsc.count(QUERY):
            await smsc.until(lambda: bool(smsc.peers[0].unanswered) or smsc.count(QUERY) > 0)
            assert len(smsc.peers[0].unanswered) + smsc.count(QUERY) <= 2
            smsc.peers[0].answer(1)
            await driver.until(lambda count=sent - 3: len(driver.results) >= count)  # type: ignore[misc]
            link.submit(batch(1, lane=1, first=sent))
            sent += 1
            assert sent < 40
        assert sent > 16


async def test_what_becomes_of_requests_when_the_link_is_lost() -> None:
    """A written one is in doubt, a waiting one was not written; so it is at a stop, for what waits."""
    async with bound(window=1) as (smsc, link, driver):
        link.request(queries(2))
        await smsc.until(lambda: smsc.count(QUERY) == 1)
        smsc.peers[0].transport.abort()
        await driver.until(lambda: len(driver.request_results) == 2)
        assert [(r.key, r.outcome) for r in driver.request_results] == [
            (0, Outcome.IN_DOUBT), (1, Outcome.NOT_WRITTEN),
        ]  # fmt: skip
        await driver.until_state(BOUND, 2)
        link.request(queries(2, 2))
        await smsc.until(lambda: smsc.count(QUERY) == 2)
        await link.stop(0)
        assert [(r.key, r.outcome) for r in driver.request_results[2:]] == [
            (3, Outcome.NOT_WRITTEN), (2, Outcome.IN_DOUBT),
        ]  # fmt: skip


async def test_a_request_without_an_answer_is_in_doubt() -> None:
    """Its place is free again, and submissions use it."""
    async with bound(window=1, response_timeout_s=0.5) as (smsc, link, driver):
        link.request(queries(1))
        await driver.until(lambda: bool(driver.request_results))
        assert driver.request_results == [RequestResult(0, Outcome.IN_DOUBT, 0, None)]
        link.submit(batch(1))
        await driver.until(lambda: driver.outcomes() == {0: "ANSWERED"})
        assert smsc.count(SUBMIT) == 1
