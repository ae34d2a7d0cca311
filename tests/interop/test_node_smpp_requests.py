"""Our links bind to node-smpp as a pair or as a transceiver, over TLS: requests beside submit_sm, and their answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from carrier.contract import LinkState, Outcome, Request, Submission
from carrier.link import SmppLink
from carrier.pacing import Pacer
from carrier.profile import Binding, CarrierProfile, CarrierTls, Receiver, Secret
from carrier.smpp.constants import Status, Tag
from carrier.smpp.messages import QuerySmResp
from carrier.smpp.pdu import CancelSm, DataSm, DataSmResp, QuerySm, ReplaceSm, encode_submit_sm
from carrier.smpp.tlv import Tlv, encode_tlvs, make_tlv
from tests.appliance import PASSWORD, Appliance, CarrierSpec
from tests.carrier.driver import Driver, batch
from tests.interop.test_node_smpp import node_smpp, told

pytestmark = pytest.mark.interop

ADDRESS = b"4915112345678"
REQUESTS = [
    Request("query", QuerySm(b"00000001", 5, 0, b"ACME")),
    Request("cancel", CancelSm(b"", b"00000001", 5, 0, b"ACME", 1, 1, ADDRESS)),
    Request("replace", ReplaceSm(b"00000001", 5, 0, b"ACME", short_message=b"other")),
    Request("data", DataSm(source_addr=b"ACME", dest_addr_ton=1, dest_addr_npi=1, destination_addr=ADDRESS,
                           tlvs=(make_tlv(Tag.MESSAGE_PAYLOAD, b"hello"),))),
]  # fmt: skip


@asynccontextmanager
async def linked_to(spec: CarrierSpec, binding: Binding) -> AsyncIterator[tuple[SmppLink, Driver]]:
    """Run a link to node-smpp."""
    profile = CarrierProfile(
        name="node-smpp", host="localhost", port=spec.port, system_id="smsgw", password=Secret(PASSWORD.encode()),
        tls=CarrierTls(ca_file=spec.ca_file), binding=binding,
    )  # fmt: skip
    driver = Driver()
    link = SmppLink(profile, 0, driver, Pacer(profile.rate_pdus_s, now_ns=time.monotonic_ns()))
    running = asyncio.create_task(link.run())
    try:
        async with asyncio.timeout(60):
            await driver.until_state(LinkState.BOUND)
            yield link, driver
    finally:
        await link.stop(0)
        await running


async def test_tlvs_are_read(appliance: Appliance, node_environment: dict[str, str]) -> None:
    """Numbers, C-strings and octets of SMPP 3.4 §5.3.2, as node-smpp's own table reads them."""
    tlvs = (
        make_tlv(Tag.USER_MESSAGE_REFERENCE, 0x1234), make_tlv(Tag.SOURCE_PORT, 5016),
        make_tlv(Tag.PRIVACY_INDICATOR, 3), make_tlv(Tag.QOS_TIME_TO_LIVE, 86_400),
        make_tlv(Tag.SAR_MSG_REF_NUM, 300), make_tlv(Tag.SAR_TOTAL_SEGMENTS, 2), make_tlv(Tag.SAR_SEGMENT_SEQNUM, 1),
        make_tlv(Tag.CALLBACK_NUM, b"\1\1\x0149151"), Tlv(0x1400, b"1101"),
    )  # fmt: skip
    body = encode_submit_sm(
        source_addr_ton=5, source_addr_npi=0, source_addr=b"ACME", dest_addr_ton=1, dest_addr_npi=1, dest_addr=ADDRESS,
        esm_class=0, protocol_id=0, priority_flag=0, validity_period=b"", registered_delivery=0, data_coding=0,
        short_message=b"hello", tlvs=encode_tlvs(tlvs),
    )  # fmt: skip
    with node_smpp(appliance, node_environment) as (carrier, spec):
        async with linked_to(spec, Binding()) as (link, driver):
            link.submit([Submission("tlvs", 0, body, 2)])
            await driver.until(lambda: len(driver.results) == 1)
            read = (await asyncio.to_thread(told, carrier, "part"))["tlvs"]
    assert driver.results[0].status == 0
    assert isinstance(read, dict)
    expected = {
        "user_message_reference": 0x1234, "source_port": 5016, "privacy_indicator": 3, "qos_time_to_live": 86_400,
        "sar_msg_ref_num": 300, "sar_total_segments": 2, "sar_segment_seqnum": 1,
    }  # fmt: skip
    assert {name: read.get(name) for name in expected} == expected
    assert "callback_num" in read


@pytest.mark.parametrize(
    ("binding", "binds"),
    [
        (Binding(assumed_version=0x34), ["bind_transceiver"]),  # it states none, and takes data_sm
        (Binding(assumed_version=0x34, receiver=Receiver()), ["bind_receiver", "bind_transmitter"]),
    ],
)
async def test_requests_are_read_and_answered(
    appliance: Appliance, node_environment: dict[str, str], binding: Binding, binds: list[str]
) -> None:
    """A submit_sm and its receipt, then query_sm, cancel_sm, replace_sm and data_sm, as node-smpp reads them."""
    with node_smpp(appliance, node_environment) as (carrier, spec):
        async with linked_to(spec, binding) as (link, driver):
            found = [await asyncio.to_thread(told, carrier, "bound") for _ in binds]
            link.submit(batch(1))
            await driver.until(lambda: len(driver.results) == len(driver.deliveries) == 1)
            link.request(REQUESTS)
            await driver.until(lambda: len(driver.request_results) == len(REQUESTS))
            read = [await asyncio.to_thread(told, carrier, "request") for _ in REQUESTS]
    assert sorted(str(bind["kind"]) for bind in found) == binds
    assert [each["kind"] for each in read] == ["query_sm", "cancel_sm", "replace_sm", "data_sm"]
    assert [each.get("id") for each in read[:3]] == ["00000001"] * 3
    assert (read[3]["destination"], read[3]["text"]) == (ADDRESS.decode(), "hello")
    results = {result.key: result for result in driver.request_results}
    assert {result.outcome for result in results.values()} == {Outcome.ANSWERED}
    assert {key: result.status for key, result in results.items()} == {
        "query": 0, "cancel": 0, "replace": Status.ESME_RREPLACEFAIL, "data": 0,
    }  # fmt: skip
    query, data = results["query"].pdu, results["data"].pdu
    assert isinstance(query, QuerySmResp)
    assert (query.message_id, query.message_state) == (b"00000001", 2)
    assert isinstance(data, DataSmResp)
    assert data.message_id == b"data-1"
