"""Our links bind to node-smpp as a pair or as a transceiver, over TLS: requests beside submit_sm, and their answers."""

from __future__ import annotations

import asyncio
import time

import pytest

from carrier.contract import LinkState, Outcome, Request
from carrier.link import SmppLink
from carrier.pacing import Pacer
from carrier.profile import Binding, CarrierProfile, CarrierTls, Receiver, Secret
from carrier.smpp.constants import Status, Tag
from carrier.smpp.messages import QuerySmResp
from carrier.smpp.pdu import CancelSm, DataSm, DataSmResp, QuerySm, ReplaceSm
from carrier.smpp.tlv import make_tlv
from tests.appliance import PASSWORD, Appliance
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
                found = [await asyncio.to_thread(told, carrier, "bound") for _ in binds]
                link.submit(batch(1))
                await driver.until(lambda: len(driver.results) == len(driver.deliveries) == 1)
                link.request(REQUESTS)
                await driver.until(lambda: len(driver.request_results) == len(REQUESTS))
                read = [await asyncio.to_thread(told, carrier, "request") for _ in REQUESTS]
        finally:
            await link.stop(0)
            await running
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
