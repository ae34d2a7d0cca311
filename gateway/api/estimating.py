"""EstimateMessage: how content would be encoded and split, by the rules that sending follows."""

from __future__ import annotations

from carrier.text.writing import Counting
from gateway.contents import SEALED, Measured, measure
from gateway.errors import FieldViolation, InvalidRequest
from smsgw.v1 import message_pb2
from smsgw.v1 import message_service_pb2 as pb

_MAX_SEGMENTS = 255  # what a concatenation header can count; beyond the node's own limit it is still estimated


def estimate_content(request: pb.EstimateMessageRequest, counting: Counting) -> pb.EstimateMessageResponse:
    """Return what the content takes, as `counting` knows the carriers.

    Raises InvalidRequest for content that nobody could send, and for what its caller has sealed.
    """
    if not request.HasField("content"):
        raise InvalidRequest((FieldViolation("content", "is required", "CONTENT_REQUIRED"),))
    content = request.content
    measured = measure(content, _MAX_SEGMENTS, counting)
    if not isinstance(measured, Measured):
        raise InvalidRequest((measured,))
    if measured is SEALED:
        text = "cannot be estimated: it is opened at the carrier link only; estimate the content before it is sealed"
        raise InvalidRequest((FieldViolation("content.sealed_jwe", text, "SEALED_NOT_ESTIMATED"),))
    if content.HasField("text"):
        found = counting.estimate(content.text)
    else:
        found = counting.estimate_binary(content.binary.data, content.binary.user_data_header)
    return pb.EstimateMessageResponse(
        encoding=message_pb2.Encoding.ValueType(found.encoding),
        segments=found.segments,
        units=found.units,
        capacity=found.capacity,
        non_gsm_characters=found.non_gsm,
        sent_text=found.sent_text or "",
    )
