"""`smsgw carrier trace`: a carrier's PDUs for a while, redacted, as a file for tshark."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, BinaryIO

import click

from gateway.cli.connection import connection_options, operator_settings, run
from gateway.cli.manners import Failure, Misused, console, emit, json_option, shown
from gateway.client import explained, open_channel
from gateway.config.client_file import ClientSettings
from gateway.config.kinds import Duration
from smsgw.v1 import carrier_service_pb2 as pb
from smsgw.v1.carrier_service_pb2_grpc import CarrierServiceStub

_GRACE_S = 30.0  # beyond the time that was asked for
_MIB = 1 << 20


@click.command(short_help="Capture a carrier's PDUs for a while, redacted, for tshark.")
@click.argument("name", metavar="CARRIER")
@click.option("--for", "duration", default="30s", show_default=True, help="How long: 1s to 10m.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file, a new one.")
@click.option("--bind", type=click.IntRange(min=0), help="The number of one bind; left out: all of them.")
@click.option("--max-size", type=click.IntRange(1, 64), default=16, show_default=True, help="MiB; then it ends.")
@click.option("--reason", required=True, help="Why, for those who come after. It is recorded.")
@connection_options
@json_option
def trace(
    name: str, duration: str, out: Path, bind: int | None, max_size: int, reason: str, as_json: bool, **options: Any
) -> None:
    """Capture what goes to a carrier and comes from it, as a pcap file that tshark and Wireshark read as SMPP.

    Contents are overwritten at their length, numbers keep only their form, passwords are emptied; times, statuses,
    message ids, coding, and every other field are as they were. Addresses and ports of the file are made up. Who did
    it, why, and how many PDUs there were is recorded. Interrupted, it keeps what it has.

    \b
    Examples:
      smsgw carrier trace acme --for 30s --out acme.pcap --reason 'receipts without ids, ticket 4711'
      tshark -r acme.pcap -Y 'smpp.command_status != 0'
    """
    try:
        duration_s = Duration(low="1s", high="10m").read(duration)
    except ValueError as error:
        raise Misused(f"--for {error}", reason="DURATION_INVALID") from error
    settings = operator_settings(options)
    request = pb.TraceCarrierRequest(carrier=name, bind=bind, reason=reason, max_bytes=max_size * _MIB)
    request.duration.FromMicroseconds(round(duration_s * 1e6))
    with _new(out) as file:
        summary = run(_capture(settings, request, file))
    _tell(out, summary, as_json)


@contextlib.contextmanager
def _new(path: Path) -> Any:
    """Open a new file that only its owner can read; what is still empty at a failure goes away again."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Misused(f"{path} exists; it is not overwritten", reason="IN_THE_WAY") from None
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}", reason="CANNOT_WRITE") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
    finally:
        if not path.stat().st_size:
            path.unlink()


async def _capture(settings: ClientSettings, request: pb.TraceCarrierRequest, file: BinaryIO) -> pb.TraceSummary:
    timeout_s = request.duration.ToMicroseconds() / 1e6 + _GRACE_S
    async with open_channel(settings) as channel:
        with explained(settings):
            async for response in CarrierServiceStub(channel).TraceCarrier(request, timeout=timeout_s):
                if response.WhichOneof("part") == "summary":
                    return response.summary
                file.write(response.octets)
                file.flush()
    raise Failure("the capture ended before its time; the file holds what there was", reason="TRACE_CUT")


def _tell(out: Path, summary: pb.TraceSummary, as_json: bool) -> None:
    numbers = {"pdus": summary.pdus, "octets": summary.octets, "left_out": summary.left_out, "full": summary.full}
    if as_json:
        emit({"file": str(out), **numbers})
        return
    console().print(f"{summary.pdus} PDUs in {shown(str(out))}")
    if summary.left_out:
        console().print(f"{summary.left_out} PDUs are missing: they came faster than they could be fetched")
    if summary.full:
        console().print("it ended before its time, since it was full: --max-size allows more")
