"""Rows of the checklist on flow, as the pipeline meets them: what is temporary, what is capped, and failing over.

An OTP arrives by another carrier within its validity (a minute here) when the first one dies, throttles or goes slow;
nothing is lost, and what arrives twice is counted by its cause.
"""

from __future__ import annotations

from pathlib import Path

from carrier.contract import LinkState
from carrier.statuses import Action, with_overrides
from carrier.tlvs import TlvRule
from gateway.routing.breaker import BreakerRules
from gateway.routing.routes import Match, Route, Target
from gateway.states import Category, State
from tests.quirks.carriers import carriers
from tests.quirks.way import Files

LONG = "x" * 900  # six parts
BUSY = "ESME_RTHROTTLED"
PATIENCE = {int(Category.OTP): 300_000}


async def test_row_12_temporary_errors_keep_the_order_and_lose_nothing(tmp_path: Path, files: Files) -> None:
    """Row 12: parts that are refused for now are sent again, in their order, each until it is taken, none twice."""
    script = f"errors: [{{every: 2, times: 3, status: {BUSY}}}]"
    async with carriers(tmp_path, files, script) as site:
        (row,) = await site.delivered(await site.send(text=LONG))
        assert [received.part for received in site.simulators["a"].received] == [1, 3, 5, 2, 4, 6]
        assert row.attempts == 2
        assert await site.counts("retry.throttled") == 1


async def test_row_12_with_the_behaviour_off(tmp_path: Path, files: Files) -> None:
    """Row 12, the contrast: a carrier whose table calls the status final has its first one rejected."""
    script = f"errors: [{{times: 1, status: {BUSY}}}]"
    profiles = {"a": {"statuses": with_overrides({0x58: Action.FAIL})}}
    async with carriers(tmp_path, files, script, profiles=profiles) as site:
        (row,) = await site.ended(await site.send())
        assert (State(row.state), row.smpp_status) == (State.REJECTED, 0x58)


async def test_row_12_every_temporary_status(tmp_path: Path, files: Files) -> None:
    """Row 12: ESME_RTHROTTLED, ESME_RMSGQFUL, ESME_RSYSERR and ESME_RX_T_APPN each lead to another attempt."""
    statuses = (BUSY, "ESME_RMSGQFUL", "ESME_RSYSERR", "ESME_RX_T_APPN")
    rules = ", ".join(f"{{text: '{status}', times: 1, status: {status}}}" for status in statuses)
    async with carriers(tmp_path, files, f"errors: [{rules}]") as site:
        for status in statuses:
            (row,) = await site.delivered(await site.send(text=f"about {status}"))
            assert row.attempts == 2
        assert await site.counts("retry.") == len(statuses)
        assert site.taken() == {"a": len(statuses)}


async def test_row_14_a_bind_beyond_the_cap_is_refused_and_traffic_goes_on(tmp_path: Path, files: Files) -> None:
    """Row 14: the carrier takes two binds and we hold three: two carry everything, and the third goes on asking."""
    async with carriers(
        tmp_path, files, "binds: {most: 2}", profiles={"a": {"binds": 3, "window": 8}}, wait=False
    ) as site:
        await site.until(lambda: sum(link.state is LinkState.BOUND for link in site.links) == 2)
        await site.delivered(await site.send(40))
        assert site.taken() == {"a": 40}
        assert sum(link.state is LinkState.BOUND for link in site.links) == 2
        assert len({received.connection for received in site.simulators["a"].received}) == 2


async def test_row_14_the_rate_is_shared_by_the_binds(tmp_path: Path, files: Files) -> None:
    """Row 14: three binds together keep to the account's rate: a carrier that allows a little more refuses nothing."""
    script = f"throttle: {{rate_s: 60, status: {BUSY}, burst_s: 0.3}}"
    async with carriers(tmp_path, files, script, profiles={"a": {"binds": 3, "rate_pdus_s": 40.0}}) as site:
        await site.delivered(await site.send(60))
        assert await site.counts("retry.") == 0
        assert len({received.connection for received in site.simulators["a"].received}) == 3


async def test_row_14_with_a_rate_for_each_bind(tmp_path: Path, files: Files) -> None:
    """Row 14, the contrast: three times the rate is too much for that carrier; still nothing is lost."""
    script = f"throttle: {{rate_s: 60, status: {BUSY}, burst_s: 0.3}}"
    async with carriers(tmp_path, files, script, profiles={"a": {"binds": 3, "rate_pdus_s": 400.0}}) as site:
        await site.delivered(await site.send(60))
        assert await site.counts("retry.throttled") > 0
        assert site.taken() == {"a": 60}


async def test_the_first_carrier_dies(tmp_path: Path, files: Files) -> None:
    """It takes OTPs, answers none and goes away: those in doubt are sent again by the second, counted, and the rest go
    there at once."""
    async with carriers(tmp_path, files, "responses: {none_every: 1}", "") as site:
        doubtful = await site.send(5)
        await site.until(lambda: site.taken()["a"] == 5)
        await site.simulators["a"].stop()
        rows = await site.delivered(doubtful + await site.send(5))
        assert {row.carrier for row in rows} == {"b"}
        assert site.taken() == {"a": 5, "b": 10}
        assert await site.counts("resend.") == 5


async def test_the_first_carrier_throttles(tmp_path: Path, files: Files) -> None:
    """What it refuses for now goes by the second at once: each OTP arrives once."""
    async with carriers(tmp_path, files, f"throttle: {{rate_s: 5, status: {BUSY}}}", "") as site:
        rows = await site.delivered(await site.send(40))
        taken = site.taken()
        assert taken["a"] + taken["b"] == 40
        assert taken["b"] == sum(row.carrier == "b" for row in rows) > 0
        assert await site.counts("failover.throttled") > 0
        assert await site.counts("resend.") == 0


async def test_the_first_carrier_goes_slow(tmp_path: Path, files: Files) -> None:
    """Its window fills and nothing is answered: what was not written goes by the second after an OTP's patience; what
    was written is in doubt when its time is over, and sent again there, counted."""
    profiles = {"a": {"window": 4, "response_timeout_s": 6.0}}
    async with carriers(
        tmp_path, files, "responses: {none_every: 1}", "", patience=PATIENCE, profiles=profiles
    ) as site:
        rows = await site.delivered(await site.send(30))
        assert {row.carrier for row in rows} == {"b"}
        assert site.taken() == {"a": 4, "b": 30}
        assert await site.counts("resend.no_answer") == 4


async def test_the_first_carrier_is_ill(tmp_path: Path, files: Files) -> None:
    """Every message is answered with a system error: its breaker opens, it is left alone but for probes, and when it is
    well again it gets what is sent."""
    script = "errors: [{times: 8, status: ESME_RSYSERR}]"
    breakers = {"a": BreakerRules(failures=5, open_for=200_000, probes=1)}
    async with carriers(tmp_path, files, script, "", breakers=breakers) as site:
        await site.delivered(await site.send(20))
        assert site.pipeline.router.breakers.openings()["a"] >= 1
        while site.taken()["a"] == 0 or site.pipeline.router.breakers.states()["a"] != "closed":
            await site.delivered(await site.send())
        assert await site.counts("resend.") == 0


async def test_a_message_goes_whole_by_one_carrier(tmp_path: Path, files: Files) -> None:
    """A long message whose first carrier takes nothing goes by the second: all parts of it, in their order."""
    async with carriers(tmp_path, files, f"errors: [{{status: {BUSY}}}]", "") as site:
        await site.delivered(await site.send(text=LONG))
        assert [received.part for received in site.simulators["b"].received] == list(range(1, 7))
        assert site.taken()["a"] == 0


async def test_each_by_its_route_with_its_sender(tmp_path: Path, files: Files) -> None:
    """Promotions by one carrier, everything else by the other, each under the sender that its route says."""
    promotions = Match(categories=frozenset({int(Category.PROMOTIONAL)}))
    routes = [
        Route(name="promotions", match=promotions, targets=(Target(carrier="a", sender="PROMO"),)),
        Route(name="rest", targets=(Target(carrier="b", senders={"ACME": "ACMEDE"}),)),
    ]
    async with carriers(tmp_path, files, "", "", routes=routes) as site:
        await site.delivered(await site.send(3, category=Category.PROMOTIONAL) + await site.send(2))
        assert {received.source for received in site.simulators["a"].received} == {"PROMO"}
        assert {received.source for received in site.simulators["b"].received} == {"ACMEDE"}
        assert site.taken() == {"a": 3, "b": 2}


async def test_row_23_a_label_that_one_carrier_requires(tmp_path: Path, files: Files) -> None:
    """Row 23: a message without the label goes by the carrier that requires none; where both do, it is rejected."""
    required = {"tlvs": (TlvRule(tag=0x1401, name="template_id", from_label="dlt_template_id", required=True),)}
    async with carriers(tmp_path / "one", files, "", "", profiles={"a": required}) as site:
        await site.delivered(await site.send(2, text="long " * 60))
        assert (site.taken(), await site.counts("failover.unsendable")) == ({"a": 0, "b": 4}, 2)
    async with carriers(tmp_path / "both", files, "", "", profiles={"a": required, "b": required}) as site:
        (row,) = await site.ended(await site.send())
        assert (State(row.state), row.reason_code, site.taken()) == (
            State.REJECTED, "CONTENT_UNSENDABLE", {"a": 0, "b": 0})  # fmt: skip
