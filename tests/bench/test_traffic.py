"""What the load generators send: valid, distinct, and the same in every run."""

from __future__ import annotations

import phonenumbers

from bench import traffic
from carrier.text.gsm7 import ALPHABET
from smsgw.v1 import message_service_pb2 as s

SAMPLE = range(0, 2_000_000, 997)


def test_recipients_are_valid_and_distinct() -> None:
    """No two messages share a recipient, each is a valid number, and there are 20 countries."""
    numbers = [traffic.recipient(number) for number in SAMPLE]
    parsed = [phonenumbers.parse(number) for number in numbers]
    assert len(set(numbers)) == len(numbers)
    assert all(phonenumbers.is_valid_number(number) for number in parsed)
    assert len({number.country_code for number in parsed}) == len(traffic.PREFIXES) == 20


def test_callers_by_turns_come_to_most_countries() -> None:
    """The 25 callers of a generator, by turns, come to 16 countries each, and do not keep to four."""
    pairs = {(number % 25, traffic.recipient(number)[:5]) for number in range(500)}
    assert len(pairs) == 25 * 16


def test_texts_are_distinct_and_one_segment() -> None:
    """Texts differ, have the length that they claim, and fit GSM 7 bit."""
    texts = {traffic.text(number) for number in SAMPLE}
    assert len(texts) == len(SAMPLE)
    assert {len(text) for text in texts} == {traffic.TEXT_LENGTH}
    assert all(set(text) <= set(ALPHABET) for text in texts)


def test_requests_hold_the_numbered_messages() -> None:
    """Each kind of request carries the messages that its numbers name."""
    batch = s.SendMessagesRequest.FromString(traffic.batch_request(5, 3))
    assert list(batch.messages) == [traffic.message(number) for number in (5, 6, 7)]
    assert s.SendMessageRequest.FromString(traffic.unary_request(5)).message == traffic.message(5)
    frame = s.StreamMessagesRequest.FromString(traffic.frame(5))
    assert (frame.tag, list(frame.messages)) == (5, [traffic.message(5)])
