"""One bind and the pair of binds, over loopback sockets: modes, versions, rebinding, and what is said about them."""

from __future__ import annotations

import asyncio
import logging

import pytest

from carrier.contract import LinkState, Outcome, Request
from carrier.profile import Binding, Receiver, Secret
from carrier.smpp.constants import CommandId, Status
from carrier.smpp.pdu import DataSm
from tests.carrier.driver import Driver, batch, profile_of, running
from tests.carrier.smsc import BIND, BIND_RX, BIND_TX, DELIVER, RESP, SUBMIT, UNBIND, listening, pdu

BOUND, BACKOFF = LinkState.BOUND, LinkState.BACKOFF
RECEIPT = bytes(7) + b"\x04" + bytes(9)  # a deliver_sm body with esm_class 4


def said(driver: Driver, text: str) -> bool:
    """Say whether a reason that the link gave holds `text`."""
    return any(text in why for _, why in driver.states)


async def test_a_pair_sends_on_one_and_receives_on_the_other() -> None:
    """Row 17: submit_sm leave by the transmitter, receipts come and are answered by the receiver, at another port and
    with other credentials."""
    async with listening() as tx, listening() as rx:
        own = Receiver(port=rx.port, system_id="rx", password=Secret(b"other"))
        async with running(profile_of(tx.port, binding=Binding(receiver=own))) as (link, driver):
            await driver.until(
                lambda: said(driver, "transmitter bound: bound") and said(driver, "receiver bound: bound")
            )
            link.submit(batch(2))
            await driver.until(lambda: driver.outcomes() == {0: "ANSWERED", 1: "ANSWERED"})
            rx.peers[0].transport.write(pdu(DELIVER, 5, RECEIPT))
            await driver.until(lambda: bool(driver.deliveries))
            link.answer([(driver.deliveries[0].ticket, 0)])
            await rx.until(lambda: rx.count(DELIVER | RESP) == 1)
            await link.stop(1)
        assert [entry[0] for entry in tx.log] == [BIND_TX, SUBMIT, SUBMIT, UNBIND]
        assert [entry[0] for entry in rx.log] == [BIND_RX, DELIVER | RESP, UNBIND]
        assert tx.log[0][3].startswith(b"user\0secret\0")
        assert rx.log[0][3].startswith(b"rx\0other\0")


async def test_the_halves_of_a_pair_come_back_by_themselves() -> None:
    """Row 17: a lost receiver does not stop submitting, a lost transmitter does; the state says both, and each
    connection has its own number."""
    async with listening() as tx, listening() as rx:
        profile = profile_of(tx.port, binding=Binding(receiver=Receiver(port=rx.port)))
        async with running(profile) as (link, driver):
            await driver.until(lambda: [bind.state for bind in link.stats().binds] == [BOUND, BOUND])
            rx.bind_status = Status.ESME_RBINDFAIL
            rx.peers[0].transport.abort()
            await driver.until(lambda: said(driver, "receiver backoff: the carrier closed"))
            assert link.state is BOUND
            link.submit(batch(1))
            await driver.until(lambda: driver.outcomes() == {0: "ANSWERED"})
            rx.bind_status = 0
            await driver.until(lambda: link.stats().binds[1].state is BOUND)
            tx.bind_status = Status.ESME_RBINDFAIL
            tx.peers[0].transport.abort()
            await driver.until(lambda: link.state is not BOUND)
            assert link.room(1) == 0
            rx.peers[-1].transport.write(pdu(DELIVER, 5, RECEIPT))
            await driver.until(lambda: bool(driver.deliveries))
            assert driver.deliveries[0].connection > 2
            assert [bind.role for bind in link.stats().binds] == ["transmitter", "receiver"]


@pytest.mark.parametrize(
    ("binding", "asked"), [(Binding(), {BIND}), (Binding(receiver=Receiver()), {BIND_TX, BIND_RX})]
)
async def test_nothing_falls_back_to_another_mode(binding: Binding, asked: set[int]) -> None:
    """Row 17: a carrier that refuses the mode is asked for the same again, and never for another."""
    async with listening() as smsc:
        smsc.bind_status = Status.ESME_RINVCMDID
        async with running(profile_of(smsc.port, binding=binding)) as (_, driver):
            await smsc.until(lambda: len(smsc.log) >= 6)
            assert {entry[0] for entry in smsc.log} == asked
            assert said(driver, "ESME_RINVCMDID")


async def test_too_many_binds() -> None:
    """Row 14: a carrier that takes no further bind is asked again, and the reason names the setting."""
    async with listening() as smsc:
        smsc.bind_status = Status.ESME_RALYBND
        async with running(profile_of(smsc.port)) as (_, driver):
            assert "fewer binds than `binds` asks for; connecting again" in await driver.until_state(BACKOFF)


@pytest.mark.parametrize(
    ("tlv", "stated", "goes"),
    [
        (b"", None, False),
        (b"\x02\x10\x00\x01\x34", 0x34, True),
        (b"\x02\x10\x00\x01\x33", 0x33, False),
        (b"\x02\x10\x00\x01\x07", 7, False),
        (b"\x02\x10\x00\x03abc", 0x616263, False),
        (b"\x02\x10\x00\x09a", None, False),
    ],
)
async def test_versions(tlv: bytes, stated: int | None, goes: bool) -> None:
    """Row 22: a carrier that states no version, an old one or nonsense is sent no data_sm, and serves all the same."""
    async with listening() as smsc:
        smsc.bind_tlvs = tlv
        async with running(profile_of(smsc.port)) as (link, driver):
            await driver.until_state(BOUND)
            assert link.stats().binds[0].stated_version == stated
            assert link.supports(CommandId.DATA_SM) is goes
            link.request([Request("d", DataSm(destination_addr=b"49"))])
            if goes:
                await smsc.until(lambda: smsc.count(CommandId.DATA_SM) == 1)
            else:
                await driver.until(lambda: bool(driver.request_results))
                assert driver.request_results[0].status == Status.ESME_RINVCMDID
            smsc.peers[0].transport.write(pdu(DELIVER, 5, RECEIPT))
            await driver.until(lambda: bool(driver.deliveries))


async def test_the_profile_may_know_the_version_better() -> None:
    """Row 22: what the profile assumes holds where the carrier states none."""
    known = Binding(assumed_version=0x34)
    async with listening() as smsc, running(profile_of(smsc.port, binding=known)) as (link, driver):
        await driver.until_state(BOUND)
        assert link.supports(CommandId.DATA_SM)


async def test_rebinding_when_asked() -> None:
    """What is written is answered, what is staged comes back, then the link unbinds and binds again."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(12))
        await smsc.until(lambda: smsc.count(SUBMIT) == 8)
        link.rebind("the password was changed")
        link.rebind("again")
        assert "rebinding: the password was changed" in await driver.until_state(LinkState.UNBINDING)
        smsc.peers[0].answer()
        await driver.until_state(BOUND, 2)
        assert driver.outcomes() == {n: "ANSWERED" if n < 8 else "NOT_WRITTEN" for n in range(12)}
        assert (smsc.count(UNBIND), link.stats().binds[0].connections) == (1, 2)


@pytest.mark.parametrize("rebinds", [True, False])
async def test_a_status_that_means_rebind(rebinds: bool) -> None:
    """Row 19: ESME_RINVBNDSTS renews the bind, another error does not."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(1))
        await smsc.until(lambda: smsc.count(SUBMIT) == 1)
        smsc.peers[0].answer(status=Status.ESME_RINVBNDSTS if rebinds else Status.ESME_RINVDSTADR)
        smsc.answering = True
        await driver.until(lambda: bool(driver.results))
        if rebinds:
            assert "answered with ESME_RINVBNDSTS" in await driver.until_state(LinkState.UNBINDING)
            await driver.until_state(BOUND, 2)
        link.submit(batch(1, first=1))
        await driver.until(lambda: driver.outcomes() == {0: "ANSWERED", 1: "ANSWERED"})
        assert smsc.count(UNBIND) == int(rebinds)


async def test_a_carrier_that_does_not_answer_the_unbind_of_a_rebind() -> None:
    """The connection is closed all the same, and the link binds again."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        smsc.polite = False
        await driver.until_state(BOUND)
        link.rebind("asked")
        await driver.until_state(BOUND, 2)
        assert any("rebinding: asked; connecting again" in why for state, why in driver.states if state is BACKOFF)


async def test_stopping_while_rebinding() -> None:
    """A stop waits for the answers that the rebind waits for."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(1))
        await smsc.until(lambda: smsc.count(SUBMIT) == 1)
        link.rebind("asked")
        await driver.until_state(LinkState.UNBINDING)
        stopping = asyncio.create_task(link.stop(3))
        await asyncio.sleep(0)
        smsc.peers[0].answer()
        await asyncio.wait_for(stopping, 5)
        assert driver.outcomes() == {0: "ANSWERED"}
        assert link.state is LinkState.STOPPED


async def test_plain_text_is_called_so(caplog: pytest.LogCaptureFixture) -> None:
    """Row 32: a bind without TLS says it in each state, in its stats and in a warning of the log."""
    with caplog.at_level(logging.WARNING):
        async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
            assert "in plain text (insecure: true)" in await driver.until_state(LinkState.CONNECTING)
            assert "in plain text (insecure: true)" in await driver.until_state(BOUND)
            assert [bind.secured for bind in link.stats().binds] == [False]
    assert "link_in_plain_text" in [record.message for record in caplog.records]


async def test_results_of_a_lost_link_are_reported_after_its_state() -> None:
    """The driver that submits again from its callback is told first that the link is down."""
    async with listening() as smsc, running(profile_of(smsc.port)) as (link, driver):
        smsc.answering = False
        await driver.until_state(BOUND)
        link.submit(batch(1))
        await smsc.until(lambda: smsc.count(SUBMIT) == 1)
        seen: list[LinkState] = []
        driver.on_results = lambda link, results: seen.append(link.state)  # type: ignore[method-assign]  # a spy
        smsc.peers[0].transport.abort()
        await driver.until_state(BACKOFF)
        await asyncio.sleep(0)
        assert seen == [BACKOFF]
        assert Outcome.IN_DOUBT.value == 3
