"""The link over real loopback sockets, plain and TLS, against a carrier of the tests' own."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from carrier.contract import LinkState, Outcome, Request, Submission
from carrier.errors import LocalSessionError, PduError
from carrier.link import SmppLink
from carrier.pacing import Pacer
from carrier.profile import Secret
from carrier.smpp.constants import Status
from carrier.smpp.pdu import CancelSm
from tests.carrier.driver import BODY, Driver, batch, profile_of, running
from tests.carrier.smsc import BIND, DELIVER, RESP, SUBMIT, UNBIND, listening, pdu

BOUND, BACKOFF = LinkState.BOUND, LinkState.BACKOFF
RECEIPT = bytes(7) + b"\x04" + bytes(9)  # a deliver_sm body with esm_class 4


async def test_bind_submit_answer_unbind() -> None:
    """A message goes out, its answer comes back with the carrier's id, and stopping unbinds."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        assert (link.carrier, link.name, link.window) == ("acme", "acme/0", 10)
        await driver.until_state(BOUND)
        link.submit(batch(3))
        await driver.until(lambda: len(driver.results) == 3)
        assert [(r.key, r.part, r.outcome, r.status, r.message_id) for r in driver.results] == [
            (n, 0, Outcome.ANSWERED, 0, f"id-{n + 2}") for n in range(3)
        ]
        await link.stop(1)
        assert [state for state, _ in driver.states] == [
            LinkState.CONNECTING, BOUND, LinkState.UNBINDING, LinkState.STOPPED,
        ]  # fmt: skip
        assert [entry[0] for entry in smsc.log] == [BIND, SUBMIT, SUBMIT, SUBMIT, UNBIND]
        assert smsc.log[0][3] == b"user\0secret\0\0\x34\0\0\0"


async def test_error_statuses_and_hostile_ids() -> None:
    """A status arrives as it is; an id with control characters arrives escaped."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(2))
        await smsc.until(lambda: smsc.count(SUBMIT) == 2)
        first, second = smsc.peers[0].unanswered
        smsc.peers[0].transport.write(
            pdu(SUBMIT | RESP, first, status=Status.ESME_RTHROTTLED) + pdu(SUBMIT | RESP, second, b"a\n\xff\0")
        )
        await driver.until(lambda: len(driver.results) == 2)
        assert [(r.status, r.message_id) for r in driver.results] == [(0x58, ""), (0, "a\\x0a\\xff")]


@pytest.mark.parametrize("window", [1, 4, 10])
async def test_the_window_is_never_exceeded(window: int) -> None:
    """Whatever is staged, the carrier never sees more unanswered submit_sm than the window."""
    async with listening() as smsc, running(profile_of(smsc.port, window=window)) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(link.room(3), lane=3) + batch(link.room(1) // 5, lane=1, first=100))
        total = link.staged
        assert (link.unanswered, link.room(2)) == (0, 0)
        for answered in range(total):
            await smsc.until(lambda: bool(smsc.peers[0].unanswered))
            assert len(smsc.peers[0].unanswered) <= window
            assert link.unanswered + link.staged <= 2 * window
            smsc.peers[0].answer(1)
            await driver.until(lambda count=answered: len(driver.results) > count)  # type: ignore[misc]
        assert smsc.most_unanswered <= window
        assert (link.unanswered, link.staged) == (0, 0)
        assert set(driver.outcomes().values()) == {"ANSWERED"}


async def test_lane_1_overtakes() -> None:
    """With promotions filling their share of the window, a one-time password is written at once."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(link.room(3), lane=3))
        await smsc.until(lambda: smsc.count(SUBMIT) == 8)
        assert (link.room(3), link.room(1)) == (0, 4)
        link.submit(batch(1, lane=1, first=100))
        await smsc.until(lambda: smsc.count(SUBMIT) == 9)
        smsc.peers[0].transport.write(pdu(SUBMIT | RESP, smsc.peers[0].unanswered[-1], b"otp\0"))
        await driver.until(lambda: bool(driver.results))
        assert [(r.key, r.message_id) for r in driver.results] == [(100, "otp")]


async def test_the_pace_holds_back() -> None:
    """Beyond the bucket nothing is written; a lost link says NOT_WRITTEN for what waits, IN_DOUBT for the rest."""
    frozen = Pacer(50, now_ns=1 << 62)  # its clock is far ahead: the bucket of five PDUs does not refill
    async with listening() as smsc, running(profile_of(smsc.port), frozen) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(8))
        await smsc.until(lambda: smsc.count(SUBMIT) == 4)
        assert (link.unanswered, link.staged) == (4, 4)
        link.submit(batch(1, lane=1, first=100))
        await smsc.until(lambda: smsc.count(SUBMIT) == 5)
        smsc.peers[0].transport.abort()
        await driver.until(lambda: len(driver.results) == 9)
        assert driver.outcomes() == dict.fromkeys([0, 1, 2, 3, 100], "IN_DOUBT") | dict.fromkeys(
            [4, 5, 6, 7], "NOT_WRITTEN"
        )
        assert (link.unanswered, link.staged) == (0, 0)


async def test_the_pace_goes_on_by_itself() -> None:
    """What the bucket holds back is written as it refills, without another call."""
    async with listening() as smsc, running(profile_of(smsc.port, window=50), pacer_of(100)) as (link, driver):
        await driver.until_state(BOUND)
        link.submit(batch(15))
        await driver.until(lambda: len(driver.results) == 15)
        assert set(driver.outcomes().values()) == {"ANSWERED"}


def pacer_of(rate: float) -> Pacer:
    """Return a bucket that runs with the clock."""
    return Pacer(rate, now_ns=time.monotonic_ns())


async def test_reconnect() -> None:
    """A cut connection is reported with why, and the link comes back by itself."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        await driver.until_state(BOUND)
        rooms = driver.rooms
        smsc.peers[0].transport.abort()
        why = await driver.until_state(BACKOFF)
        assert "the carrier closed the connection" in why
        assert "connecting again in 0.0 s" in why
        await driver.until_state(BOUND, 2)
        assert driver.rooms > rooms
        link.submit(batch(1))
        await driver.until(lambda: driver.outcomes() == {0: "ANSWERED"})


async def test_the_peer_unbinds() -> None:
    """The carrier's unbind is answered, what is unanswered is in doubt, and the link binds again."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(1))
        await smsc.until(lambda: smsc.count(SUBMIT) == 1)
        smsc.peers[0].transport.write(pdu(UNBIND, 7))
        assert "the carrier unbound" in await driver.until_state(BACKOFF)
        await smsc.until(lambda: smsc.count(UNBIND | RESP) == 1)
        assert driver.outcomes() == {0: "IN_DOUBT"}
        await driver.until_state(BOUND, 2)


async def test_no_response_in_time() -> None:
    """Without a response the outcome is in doubt, the place is free again, and a late response changes nothing."""
    async with listening() as smsc, running(profile_of(smsc.port, response_timeout_s=0.05)) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(1))
        await driver.until(lambda: driver.outcomes() == {0: "IN_DOUBT"})
        assert (link.unanswered, link.state) == (0, BOUND)
        smsc.peers[0].answer()
        smsc.answering = True
        link.submit(batch(1, first=1))
        await driver.until(lambda: driver.outcomes() == {0: "IN_DOUBT", 1: "ANSWERED"})


async def test_a_silent_carrier_is_dead_after_two_questions() -> None:
    """A peer that answers no enquire_link is left, and what it owes is in doubt."""
    async with listening() as smsc, running(profile_of(smsc.port, enquire_link_s=0.03)) as (link, driver):
        smsc.answering = smsc.polite = False
        await driver.until_state(BOUND)
        link.submit(batch(1))
        assert "2 enquire_link were not answered" in await driver.until_state(BACKOFF)
        await driver.until(lambda: driver.outcomes() == {0: "IN_DOUBT"})


async def test_a_bad_length_closes() -> None:
    """Octets that are no SMPP end the connection with a generic_nack."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (_, driver):
        await driver.until_state(BOUND)
        smsc.peers[0].transport.write(b"HTTP/1.1 400 Bad Request\r\n")
        assert "command_length 1213486160" in await driver.until_state(BACKOFF)
        await smsc.until(lambda: smsc.count(RESP) == 1)


@pytest.mark.parametrize(
    ("status", "low", "high"), [(Status.ESME_RINVPASWD, 75.0, 100.0), (Status.ESME_RALYBND, 0.01, 0.03)]
)
async def test_a_refused_bind(status: int, low: float, high: float) -> None:
    """The carrier's status is told; wrong credentials are tried again only slowly, or the account gets locked."""
    async with listening() as smsc:
        smsc.bind_status = status
        async with running(profile_of(smsc.port, reconnect_max_s=100.0)) as (_, driver):
            why = await driver.until_state(BACKOFF)
            assert f"refused the bind: {Status(status).name}" in why
            assert low - 0.05 <= float(why.rpartition("again in ")[2].removesuffix(" s")) <= high + 0.05


async def test_a_carrier_that_never_answers_the_bind() -> None:
    """TCP, TLS and bind have one deadline together."""
    async with listening() as smsc:
        smsc.bind_status = None
        async with running(profile_of(smsc.port, connect_timeout_s=0.05)) as (_, driver):
            assert "no connection, TLS and bind within 0.05 s" in await driver.until_state(BACKOFF)


async def test_a_port_that_nobody_listens_on() -> None:
    """A refused connection is told, and tried again."""
    async with listening() as smsc:
        port = smsc.port
    async with running(profile_of(port)) as (_, driver):
        assert f"127.0.0.1:{port}: " in await driver.until_state(BACKOFF)
        await driver.until_state(BACKOFF, 2)


async def test_backoff_grows_with_jitter_and_starts_anew() -> None:
    """Delays stay within the bounds, grow while connecting fails, and start anew after a bind that held."""
    driver, now, chance = Driver(), [0.0], [1.0]
    profile = profile_of(1, reconnect_min_s=1.0, reconnect_max_s=20.0)
    link = SmppLink(profile, 0, driver, pacer_of(1), clock=lambda: now[0], random=lambda: chance[0])
    bind = link._first
    delays = []
    for _ in range(5):
        bind._back_off(LocalSessionError("x"))
        delays.append(bind._delay_s)
    assert delays == [3.0, 9.0, 20.0, 20.0, 20.0]
    chance[0] = 0.0
    bind._back_off(LocalSessionError("x"))
    assert bind._delay_s == 1.0
    chance[0], bind._delay_s, bind._bound_at, now[0] = 1.0, 20.0, 0.0, 20.0
    bind._back_off(LocalSessionError("x"))
    assert bind._delay_s == 3.0


async def test_deliveries_are_answered_when_the_driver_says_so() -> None:
    """A receipt is given to the driver and answered with its status, once; an old ticket is ignored."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        await driver.until_state(BOUND)
        smsc.peers[0].transport.write(pdu(DELIVER, 5, RECEIPT) + pdu(DELIVER, 6, RECEIPT))
        await driver.until(lambda: len(driver.deliveries) == 2)
        assert [d.pdu.esm_class for d in driver.deliveries] == [4, 4]
        assert smsc.count(DELIVER | RESP) == 0
        link.answer([(driver.deliveries[1].ticket, Status.ESME_RX_T_APPN), (driver.deliveries[0].ticket, 0)])
        await smsc.until(lambda: smsc.count(DELIVER | RESP) == 2)
        assert [entry[1:3] for entry in smsc.log if entry[0] == DELIVER | RESP] == [(0x64, 6), (0, 5)]
        smsc.peers[0].transport.abort()
        await driver.until_state(BOUND, 2)
        link.answer([(d.ticket, 0) for d in driver.deliveries] + [("no ticket", 0)])
        link.submit(batch(1))
        await driver.until(lambda: driver.outcomes() == {0: "ANSWERED"})
        assert smsc.count(DELIVER | RESP) == 2


@pytest.mark.parametrize("callback", ["on_state", "on_results", "on_request_results", "on_deliveries", "on_room"])
async def test_a_failing_driver_does_not_cut_the_link(callback: str, caplog: pytest.LogCaptureFixture) -> None:
    """An exception of the driver is logged with its callback, and the link serves on."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        driver.fails.add(callback)
        with caplog.at_level(logging.ERROR):
            await driver.until_state(BOUND)
            link.submit(batch(1))
            smsc.peers[0].transport.write(pdu(DELIVER, 5, RECEIPT))
            await driver.until(lambda: len(driver.results) == 1 and len(driver.deliveries) == 1)
            link.submit(batch(1, first=1))
            link.request([Request(0, CancelSm(message_id=b"x" * 65))])  # the link answers it itself
            await driver.until(lambda: len(driver.results) == 2 and len(driver.request_results) == 1)
        failures = [record for record in caplog.records if record.message == "link_listener_failed"]
        assert failures
        assert {record.__dict__["callback"] for record in failures} == {callback}
        assert link.state is BOUND


async def test_submit_outside_bound_comes_back() -> None:
    """Nothing is taken before the bind: it comes back NOT_WRITTEN, and not within the call."""
    driver = Driver()
    link = SmppLink(profile_of(1), 0, driver, pacer_of(1))
    assert (link.state, link.room(1)) == (LinkState.STOPPED, 0)
    link.submit(batch(2))
    link.submit([])
    assert driver.results == []
    await driver.until(lambda: driver.outcomes() == {0: "NOT_WRITTEN", 1: "NOT_WRITTEN"})


async def test_what_is_staged_can_be_had_back() -> None:
    """Behind a full window, what is not written comes back as such; what is written stays, and is answered."""
    async with listening() as smsc, running(profile_of(smsc.port, window=2)) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(5))
        await smsc.until(lambda: smsc.count(SUBMIT) == 2)
        assert link.staged == 3
        link.withdraw()
        assert link.staged == 0
        assert driver.results == []
        await driver.until(lambda: len(driver.results) == 3)
        assert {result.outcome for result in driver.results} == {Outcome.NOT_WRITTEN}
        smsc.peers[0].answer()
        await driver.until(lambda: len(driver.results) == 5)
        assert sorted(int(str(result.key)) for result in driver.results) == [0, 1, 2, 3, 4]
        link.withdraw()  # nothing is staged: nothing is told


async def test_a_driver_that_may_not_write() -> None:
    """While the driver may not write, as when its lease is over, nothing leaves, a request neither; then all goes by
    itself, but for what has been taken back."""
    allowed = [False]
    async with (
        listening() as smsc,
        running(profile_of(smsc.port), may_write=lambda: allowed[0]) as (link, driver),
    ):
        await driver.until_state(BOUND)
        link.submit(batch(2))
        link.request([Request("cancel", CancelSm(message_id=b"1"))])
        await asyncio.sleep(0.2)  # it is asked every 50 ms
        assert [entry[0] for entry in smsc.log] == [BIND]
        link.withdraw()
        link.submit(batch(1, first=7))
        allowed[0] = True
        await smsc.until(lambda: smsc.count(SUBMIT) == 1)
        await driver.until(lambda: len(driver.results) == 3)
        assert (driver.results[-1].key, driver.results[-1].outcome) == (7, Outcome.ANSWERED)


async def test_what_is_over_is_not_written() -> None:
    """A submission whose time has passed comes back NOT_WRITTEN, once, and leaves its place to the next."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        await driver.until_state(BOUND)
        over = Submission("over", 0, BODY, 2, time.monotonic() - 0.001)
        link.submit([over, *batch(1), Submission("in time", 0, BODY, 2, time.monotonic() + 3600.0)])
        await driver.until(lambda: len(driver.results) >= 3)
        found = {result.key: result.outcome for result in driver.results}
        assert found == {"over": Outcome.NOT_WRITTEN, 0: Outcome.ANSWERED, "in time": Outcome.ANSWERED}
        assert len(driver.results) == 3
        assert (link.unanswered, link.staged, link.stats().submitted) == (0, 0, 2)


async def test_stop_waits_for_answers() -> None:
    """Stopping returns what is staged, waits for what is written, then unbinds."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(12))
        await smsc.until(lambda: smsc.count(SUBMIT) == 8)
        stopping = asyncio.create_task(link.stop(5))
        await driver.until_state(LinkState.UNBINDING)
        assert (link.room(1), smsc.count(UNBIND)) == (0, 0)
        smsc.peers[0].answer()
        await asyncio.wait_for(stopping, 5)
        assert driver.outcomes() == {n: "ANSWERED" if n < 8 else "NOT_WRITTEN" for n in range(12)}
        assert (smsc.count(UNBIND), driver.states[-1][0]) == (1, LinkState.STOPPED)


async def test_stop_gives_up_after_its_grace() -> None:
    """What is unanswered after the grace is in doubt; the unbind is sent all the same."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(2))
        await smsc.until(lambda: smsc.count(SUBMIT) == 2)
        await asyncio.wait_for(link.stop(0.01), 5)
        assert driver.outcomes() == {0: "IN_DOUBT", 1: "IN_DOUBT"}
        assert smsc.count(UNBIND) == 1


@pytest.mark.parametrize("state", [LinkState.CONNECTING, LinkState.BACKOFF])
async def test_stop_while_not_bound(state: LinkState) -> None:
    """A link that connects or waits stops at once."""
    async with listening() as smsc:
        smsc.bind_status = None if state is LinkState.CONNECTING else Status.ESME_RBINDFAIL
        async with running(profile_of(smsc.port, reconnect_min_s=50, reconnect_max_s=60)) as (link, driver):
            await driver.until_state(state)
            await asyncio.wait_for(link.stop(50), 5)
            assert link.state is LinkState.STOPPED


async def test_a_cancelled_run_reports_what_it_holds() -> None:
    """Cancelling instead of stopping loses no result either."""
    async with listening() as smsc:
        smsc.answering = False
        driver = Driver()
        link = SmppLink(profile_of(smsc.port, window=2), 0, driver, pacer_of(1000))
        task = asyncio.create_task(link.run())
        await driver.until_state(BOUND)
        link.submit(batch(3))
        await smsc.until(lambda: smsc.count(SUBMIT) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
        assert driver.outcomes() == {0: "IN_DOUBT", 1: "IN_DOUBT", 2: "NOT_WRITTEN"}
        assert link.state is LinkState.STOPPED


async def test_a_link_runs_once() -> None:
    """A second run is a defect of the driver."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        await driver.until_state(BOUND)
        with pytest.raises(LocalSessionError, match="running already"):
            await link.run()
        link.submit(batch(1))
        await driver.until(lambda: driver.outcomes() == {0: "ANSWERED"})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"system_id": "x" * 16}, "system_id: 16 octets, at most 15"),
        ({"password": Secret(b"x" * 65)}, "password: 65 octets, at most 64"),
        ({"system_id": "köln"}, "carrier acme: system_id, system_type and address_range are ASCII"),
    ],
)
def test_credentials_that_no_bind_can_hold(change: dict[str, object], says: str) -> None:
    """They are refused when the link is made, not at each connection."""
    with pytest.raises(PduError, match=says):
        SmppLink(profile_of(1, **change), 0, Driver(), pacer_of(1))


# TLS


async def test_the_password_does_not_show(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that a link says or logs, of a refused bind too, holds the password."""
    caplog.set_level(logging.DEBUG)
    async with listening() as smsc:
        smsc.bind_status = Status.ESME_RINVPASWD
        async with running(profile_of(smsc.port, password=Secret(b"pa55word"))) as (_, driver):
            await driver.until_state(BACKOFF)
        assert b"pa55word" in smsc.log[0][3]
        said = repr(driver.states) + caplog.text + repr([record.__dict__ for record in caplog.records])
        assert "ESME_RINVPASWD" in said
        assert "pa55word" not in said
