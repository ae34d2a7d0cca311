"""What the load generators send: message number n is always the same, and no two numbers share recipient or text."""

from __future__ import annotations

from smsgw.v1 import message_pb2 as m
from smsgw.v1 import message_service_pb2 as s

# Mobile ranges of 20 countries, short of their last six digits.
PREFIXES = (
    "+919812", "+4915112", "+33612", "+447400", "+393401", "+34612", "+5511912", "+525512", "+819012", "+628121",
    "+639171", "+84901", "+27821", "+2348031", "+254712", "+201001", "+905321", "+48501", "+31612", "+46701",
)  # fmt: skip
TEXT_LENGTH = 120
MOST_MESSAGES = len(PREFIXES) * 1_000_000


def recipient(number: int) -> str:
    """Return the recipient of message `number` (0 to MOST_MESSAGES - 1)."""
    subscriber, country = divmod(number, len(PREFIXES))
    country = (country + subscriber) % len(PREFIXES)  # moves on: so callers by turns come to all countries
    # A step that shares no factor with a million: neighbours in time are no neighbours in number.
    return f"{PREFIXES[country]}{subscriber * 617_009 % 1_000_000:06d}"


def text(number: int) -> str:
    """Return the text of message `number`: TEXT_LENGTH characters of the GSM alphabet."""
    return f"Order {number:09d} has left our house and is on its way; expect it tomorrow. ".ljust(TEXT_LENGTH, "-")


def message(number: int, category: m.Category.ValueType = m.CATEGORY_TRANSACTIONAL) -> m.OutboundMessage:
    """Return message `number`."""
    return m.OutboundMessage(
        recipient=recipient(number),
        sender="ACME",
        category=category,
        content=m.Content(text=text(number)),
        client_reference=f"bench-{number}",
    )


def unary_request(number: int, category: m.Category.ValueType = m.CATEGORY_TRANSACTIONAL) -> bytes:
    """Return a serialized SendMessageRequest for message `number`."""
    return s.SendMessageRequest(message=message(number, category)).SerializeToString()


def batch_request(first: int, count: int, category: m.Category.ValueType = m.CATEGORY_TRANSACTIONAL) -> bytes:
    """Return a serialized SendMessagesRequest for `count` messages from `first` on."""
    messages = [message(first + n, category) for n in range(count)]
    return s.SendMessagesRequest(messages=messages).SerializeToString()


def frame(number: int, category: m.Category.ValueType = m.CATEGORY_TRANSACTIONAL) -> bytes:
    """Return a serialized StreamMessagesRequest with message `number` alone; its tag is the number."""
    return s.StreamMessagesRequest(tag=number, messages=[message(number, category)]).SerializeToString()
