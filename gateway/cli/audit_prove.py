"""`smsgw audit prove`: the receipt of a message, as a file that anybody can verify."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import click

from gateway.cli.connection import client_settings, connection_options, run
from gateway.cli.manners import Failure, emit, json_option
from gateway.client import CALL_TIMEOUT_S, CallFailed, explained, open_channel
from gateway.config.client_file import ClientSettings
from smsgw.client import convert
from smsgw.v1 import audit_service_pb2 as pb
from smsgw.v1.audit_service_pb2_grpc import AuditServiceStub

_NOT_READY = "PROOF_NOT_READY"
_AGAIN_S = 0.5


@click.command(short_help="Write the receipt of a message: what the log proves of it.")
@click.argument("message_id")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="The file; left out: printed.")
@click.option("--include-sending", is_flag=True, help="With the records that list other messages of the tenant too.")
@click.option("--without-salt", is_flag=True, help="So that nobody can show, or find out, which message it was.")
@click.option(
    "--wait", "wait_s", type=click.FloatRange(0, 3600), default=10.0, show_default=True, metavar="SECONDS",
    help="How long to wait for the log to take up the message's last records.",
)  # fmt: skip
@connection_options
@json_option
def prove(
    message_id: str,
    output: Path | None,
    include_sending: bool,
    without_salt: bool,
    wait_s: float,
    as_json: bool,
    **options: Any,
) -> None:
    """Write the receipt of a message of your tenant: that it was accepted, submitted and delivered, and when, without
    its recipient and content. Whoever has the log's public key verifies it with `smsgw audit verify`.

    \b
    Examples:
      smsgw audit prove 01932c07-7d4c-7a51-8000-2d1f3c5b7a90 -o receipt.json
      smsgw audit prove 01932c07-7d4c-7a51-8000-2d1f3c5b7a90 --without-salt | mail -s receipt partner@example.org
    """
    settings = client_settings(options)
    request = pb.GetMessageProofRequest(message_id=message_id, include_sending=include_sending)
    receipt = run(_asked(settings, request, wait_s))
    if without_salt:
        receipt.ClearField("salt")
    text = convert.receipt(receipt)
    if output is None:
        click.echo(text, nl=False)
        return
    _write(output, text.encode())
    if as_json:
        emit({"receipt": str(output), "message_id": message_id, "commits": len(receipt.commits)})
    else:
        click.echo(f"{output}: the receipt of {message_id}")


async def _asked(settings: ClientSettings, request: pb.GetMessageProofRequest, wait_s: float) -> pb.MessageReceipt:
    """Return the receipt, when the log has all of the message's records."""
    deadline = time.monotonic() + wait_s
    async with open_channel(settings) as channel:
        stub = AuditServiceStub(channel)
        while True:
            try:
                with explained(settings):
                    response = await stub.GetMessageProof(request, timeout=CALL_TIMEOUT_S)
            except CallFailed as failed:
                if failed.reason != _NOT_READY or time.monotonic() + _AGAIN_S > deadline:
                    raise
                await asyncio.sleep(_AGAIN_S)
            else:
                receipt: pb.MessageReceipt = response.receipt
                return receipt


def _write(path: Path, octets: bytes) -> None:
    """Write a file that only its owner may read: with its salt, a receipt shows which message it was."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(octets)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}", reason="NOT_WRITTEN") from error
