"""The probe over TLS against a simulated carrier of five dialects: it finds each."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from carrier.errors import BindRefused, TlsRefused
from carrier.probe.conclusions import Finding, conclude
from carrier.probe.observations import Observations
from carrier.probe.prober import Plan, Prober
from carrier.profile import CarrierProfile, CarrierTls, Secret
from carrier.simulator.script_file import parse_script
from carrier.simulator.simulator import Simulator
from carrier.smpp.tlv import Tlv
from carrier.tlvs import TlvRule
from tests.quirks.linked import server_context
from tests.quirks.way import Files

PLAN = Plan(sender="ACME", recipient="4915112345678", alone=4, fast=20, burst=20, binds=4, wait_s=10.0, answer_s=5.0)

# (a script, the settings that are to be found, words that are to be found among the facts)
DIALECTS: dict[str, tuple[str, dict[str, object], list[str]]] = {
    "usual": (
        "operations: {query: answer, cancel: answer, replace: answer}",
        {"ids.response": "as_is", "ids.receipt": "as_is", "receipts.parts": "all", "text.default_alphabet": "gsm7"},
        ["0x34", "TLSv1.3", "by deliver_sm", "receipted_message_id", "query_sm: sure: taken", "no limit met"],
    ),
    "hex and decimal": (
        """
message_ids: hex
alphabet: latin1
binds: {most: 2, interface_version: none}
receipts: {ids: decimal, form: text, done_offset_s: 19800, parts: last, charset: latin1}
window: {most: 8, status: ESME_RMSGQFUL}
responses: {delay_s: 0.05}
operations: {query: nack, cancel: nack}
""",
        {
            "ids.response": "hex", "ids.receipt": "decimal", "receipts.timezone": "+05:30", "receipts.parts": "last",
            "text.default_alphabet": "latin1", "window": 8, "binds": 2, "operations.query": False,
            "operations.cancel": False,
        },
        ["states no interface version", "without TLVs", "query_sm: sure: not taken"],
    ),
    "decimal and hex, packed": (
        """
message_ids: decimal
alphabet: packed
receipts: {ids: hex_upper, by: data_sm, parts: first, before: [ACCEPTD], before_esm_class: 0x20}
throttle: {rate_s: 12, burst_s: 1}
""",
        {"ids.response": "decimal", "ids.receipt": "hex", "receipts.parts": "first",
         "text.default_alphabet": "gsm7_packed", "rate": 12},
        ["by data_sm", "intermediate", "the rate was met first"],
    ),
    "case, ascii, a pair": (
        """
message_ids: text
alphabet: ascii
binds: {kinds: [transmitter, receiver], interface_version: 0x33}
receipts: {ids: text_upper, payload: true, duplicates: 1}
""",
        {"ids.response": "as_is", "ids.receipt": "as_is", "ids.ignore_case": True, "bind.mode": "pair",
         "receipts.parts": "all",
         "text.default_alphabet": "ascii"},
        ["0x33", "text in message_payload", "more than once"],
    ),
    "octets of the id, early": (
        """
message_ids: decimal_plain
receipts: {ids: hex_bytes, before_response: true, template: "id:{id} stat:{stat}", form: text}
responses: {delay_s: 0.05}
operations: {query: fail}
""",
        {"ids.response": "as_is", "ids.receipt": "hex_bytes", "receipts.parts": "all"},
        ["before their response", "do not repeat the text", "ESME_RQUERYFAIL"],
    ),
}  # fmt: skip


@asynccontextmanager
async def probing(
    files: Files, script: str, plan: Plan = PLAN, **changes: Any
) -> AsyncIterator[tuple[Prober, Simulator]]:
    """Make a prober for a simulator over TLS; `changes`: fields of the profile, or `most` for the carrier's TLS."""
    most: ssl.TLSVersion | None = changes.pop("most", None)
    simulator = Simulator(parse_script(script), server_context(files.certificate, files.key, most=most))
    await simulator.start()
    given: dict[str, Any] = {
        "name": "acme", "host": "localhost", "port": simulator.port, "system_id": "user", "password": Secret(b"secret"),
        "tls": CarrierTls(ca_file=files.ca),
    }  # fmt: skip
    try:
        yield Prober(CarrierProfile(**(given | changes)), plan), simulator
    finally:
        await simulator.stop()


def settings_of(findings: list[Finding]) -> dict[str, object]:
    """Return what is proposed."""
    return {finding.key: finding.value for finding in findings if finding.key}


def facts_of(findings: list[Finding]) -> str:
    """Return what is said beside it."""
    return "\n".join(f"{finding.value}: {finding.why}" for finding in findings if not finding.key)


async def test_each_dialect_is_found(files: Files) -> None:
    """Ids, receipts, alphabet, window, rate, binds, operations: as the script has them, and nothing else.

    All at the same time: a probe waits for receipts that do not come more than it works.
    """
    async with asyncio.TaskGroup() as tasks:
        for dialect in DIALECTS:
            tasks.create_task(found(files, dialect), name=dialect)


async def found(files: Files, dialect: str) -> None:
    """Probe one dialect."""
    script, settings, facts = DIALECTS[dialect]
    async with probing(files, script) as (prober, simulator):
        seen = await prober.run()
        findings = conclude(seen)
        assert settings_of(findings) == settings, dialect
        told = facts_of(findings)
        assert [fact for fact in facts if fact not in told] == [], dialect
        assert seen.sent <= PLAN.most
        assert simulator.stats()["submits"] == seen.sent
        assert simulator.stats()["bound"] == 0


async def test_an_old_carrier_is_found_by_its_tls(files: Files) -> None:
    """TLS 1.2 is all that it has: the profile has to say so."""
    plan = Plan(sender="ACME", recipient="4915112345678", alone=1, fast=1, burst=1, binds=1)
    async with probing(files, "", plan, most=ssl.TLSVersion.TLSv1_2) as (prober, _):
        assert settings_of(conclude(await prober.run()))["tls.min_version"] == "1.2"


async def test_what_is_wrong_with_the_account_is_said(files: Files) -> None:
    """A wrong password, an authority that is not theirs: nothing is sent, and the reason is told."""
    async with probing(files, "password: other") as (prober, simulator):
        with pytest.raises(BindRefused, match="ESME_RINVPASWD"):
            await prober.run()
        assert simulator.stats()["submits"] == 0
    async with probing(files, "", tls=CarrierTls()) as (prober, _):
        with pytest.raises(TlsRefused, match="ca_file"):
            await prober.run()


async def test_a_carrier_that_cuts_us_off_leaves_what_was_seen(files: Files) -> None:
    """The third submit_sm ends the connection: two exchanges have been seen whole."""
    async with probing(files, "disconnect_after: 3") as (prober, _):
        seen = await prober.run()
        assert [exchange.answer.status for exchange in seen.single] == [0, 0, None]
        assert settings_of(conclude(seen))["ids.response"] == "as_is"


async def test_nothing_more_is_sent_when_the_first_message_is_refused(files: Files) -> None:
    """A TLV is missing: it costs one message to find out, and the reason is told. With it, all goes on."""
    script = "required_tlvs: [{tag: 0x1400, digits: true}]"
    plan = Plan(sender="ACME", recipient="4915112345678", alone=1, fast=1, burst=1, binds=1)
    async with probing(files, script, plan) as (prober, simulator):
        findings = conclude(await prober.run())
        assert simulator.stats()["submits"] == 1
        assert "ESME_RMISSINGOPTPARAM" in facts_of(findings)
        assert settings_of(findings) == {}
    rule = TlvRule(tag=0x1400, name="pe_id", value="1101")
    async with probing(files, script, plan, tlvs=(rule,)) as (prober, simulator):
        assert settings_of(conclude(await prober.run()))["ids.response"] == "as_is"
        assert {part.submit.tlvs for part in simulator.received} == {(Tlv(0x1400, b"1101\0"),)}


def test_nothing_seen_gives_nothing() -> None:
    """No finding without an observation, but of what was not stated."""
    assert settings_of(conclude(Observations())) == {}
