"""A carrier made of smpp34 (Rust): takes binds and submit_sm, tells what it read, and sends receipts.

    python smpp34_carrier.py PORT

Speaks JSON lines. Out: {"event": "listening"}, {"event": "bound", ...}, {"event": "submit", ...} for each submit_sm,
{"event": "receipt_answered", ...}. It listens on loopback without TLS: its server has none. A message whose text
contains "full" is refused with ESME_RMSGQFUL the first time. Ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from datetime import UTC, datetime
from typing import Any

import smpp34

_FULL = b"full"


def tell(event: str, **fields: Any) -> None:
    """Write one line."""
    print(json.dumps({"event": event, **fields}), flush=True)


async def deliver_receipt(esme: Any, submit: Any, message_id: str) -> None:
    """Send the receipt of one submit_sm, in the form of SMPP 3.4 Appendix B and as TLVs."""
    now = datetime.now(UTC).strftime("%y%m%d%H%M")
    text = f"id:{message_id} sub:001 dlvrd:001 submit date:{now} done date:{now} stat:DELIVRD err:000 text:"
    answer = await esme.deliver_sm(
        submit.source_addr,
        text.encode("ascii"),
        source_addr=submit.destination_addr,
        source_addr_ton=submit.dest_addr_ton,
        source_addr_npi=submit.dest_addr_npi,
        dest_addr_ton=submit.source_addr_ton,
        dest_addr_npi=submit.source_addr_npi,
        esm_class=0x04,
        tlvs=[
            smpp34.Tlv(smpp34.TLV_RECEIPTED_MESSAGE_ID, message_id.encode("ascii") + b"\0"),
            smpp34.Tlv(smpp34.TLV_MESSAGE_STATE, b"\2"),
        ],
    )
    tell("receipt_answered", id=message_id, status=answer.command_status)


async def serve(port: int) -> None:
    """Serve until the process ends."""
    server = smpp34.Server("127.0.0.1", port, system_id="smpp34")
    await server.start()
    tell("listening")
    sessions: dict[str, Any] = {}
    refused: set[bytes] = set()
    tasks: set[asyncio.Task[None]] = set()
    number = 0
    while True:
        event = await server.next()
        if isinstance(event, smpp34.Esme):
            sessions[event.session_id] = event
            tell("bound", system_id=event.system_id, can_receive=event.can_receive)
        elif isinstance(event, smpp34.SubmitSmEvent):
            text = event.short_message
            if _FULL in text and text not in refused:
                refused.add(text)
                event.reject(smpp34.ESME_RMSGQFUL)
                tell("refused")
                continue
            number += 1
            message_id = f"{number:08x}"
            event.accept(message_id)
            tell(
                "submit",
                id=message_id,
                source=[event.source_addr_ton, event.source_addr_npi, event.source_addr],
                destination=[event.dest_addr_ton, event.dest_addr_npi, event.destination_addr],
                esm_class=event.esm_class,
                data_coding=event.data_coding,
                octets=text.hex(),
                tlvs=[[tlv.tag, tlv.value.hex()] for tlv in event.tlvs],
            )
            if event.registered_delivery & 3:
                task = asyncio.create_task(deliver_receipt(sessions[event.session_id], event, message_id))
                tasks.add(task)
                task.add_done_callback(tasks.discard)


def end_with_input() -> None:
    """Leave when whoever started this has gone."""
    sys.stdin.read()
    sys.stdout.flush()
    os._exit(0)  # the engine's threads do not end by themselves


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    asyncio.run(serve(int(sys.argv[1])))
