"""Requests other than submit_sm (query_sm, cancel_sm, replace_sm, data_sm): what the link itself says of them. Pure.

How they wait is `carrier.staging`; when they are written, `carrier.connection`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from carrier.contract import Outcome, Request, RequestResult
from carrier.errors import PduError
from carrier.smpp.constants import CommandId, Status
from carrier.smpp.pdu import Pdu, command_id_of, encode_body


def is_refusal(status: int, pdu: Pdu | None) -> bool:
    """Say whether an answer means that the peer does not take the command at all, whatever it is about.

    That is ESME_RINVCMDID, and a generic_nack (which has no PDU) that gives no other reason. A nack for a busy carrier
    or a malformed PDU says nothing about the command.
    """
    return status == Status.ESME_RINVCMDID or (pdu is None and status == Status.ESME_RUNKNOWNERR)


def request_result(request: Request, outcome: Outcome, status: int = 0) -> RequestResult:
    """Return the end of a request that has no response."""
    return RequestResult(request.key, outcome, status, None)


def not_written(batch: Iterable[Request]) -> list[RequestResult]:
    """Return requests as none that reached the carrier."""
    return [request_result(request, Outcome.NOT_WRITTEN) for request in batch]


def sort_out(batch: Sequence[Request], refused: Collection[CommandId]) -> tuple[list[Request], list[RequestResult]]:
    """Return what can be sent, and the answers to what cannot: commands in `refused`, and what no PDU can hold."""
    good: list[Request] = []
    answers: list[RequestResult] = []
    for request in batch:
        if command_id_of(request.pdu) in refused:
            answers.append(request_result(request, Outcome.ANSWERED, Status.ESME_RINVCMDID))
        elif not _fits(request.pdu):
            answers.append(request_result(request, Outcome.ANSWERED, Status.ESME_RINVPARLEN))
        else:
            good.append(request)
    return good, answers


def _fits(pdu: Pdu) -> bool:
    try:
        encode_body(pdu)
    except PduError:
        return False
    return True
