"""A client made of smpp34 (Rust) binds over TLS, sends texts, and waits for their receipts.

    SSL_CERT_FILE=ca.pem python smpp34_client.py PORT '{"system_id": ..., "password": ..., "messages": [...]}'

A message is {"octets": hex, "data_coding": N, "esm_class": N}. Out: one JSON line with the ids that it was given, and
what it read of each deliver_sm.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import smpp34


async def run(port: int, orders: dict[str, Any]) -> None:
    """Bind, send, receive, unbind."""
    client = smpp34.Client("localhost", port, orders["system_id"], orders["password"], bind_type="TRX", tls=True)
    smsc = await client.connect()
    answers = [
        await smsc.submit_sm(
            "4915112345678",
            bytes.fromhex(message["octets"]),
            source_addr="ACME",
            source_addr_ton=5,
            dest_addr_ton=1,
            dest_addr_npi=1,
            data_coding=message["data_coding"],
            esm_class=message["esm_class"],
            registered_delivery=1,
        )
        for message in orders["messages"]
    ]
    receipts: list[dict[str, Any]] = []
    while len(receipts) < len(answers):
        event = await asyncio.wait_for(smsc.next(), 20)
        if isinstance(event, smpp34.Disconnected):
            break
        tlvs = {tlv.tag: tlv.value.hex() for tlv in event.tlvs}
        receipts.append({"esm_class": event.esm_class, "text": event.short_message.decode("ascii"), "tlvs": tlvs})
    await smsc.unbind()
    ids = [answer.message_id for answer in answers]
    print(json.dumps({"ids": ids, "statuses": [a.command_status for a in answers], "receipts": receipts}), flush=True)
    os._exit(0)  # not by its own end: the engine's threads do not survive the interpreter's


asyncio.run(run(int(sys.argv[1]), json.loads(sys.argv[2])))
