"""From a stored message to submit_sm bodies: the only place between API and wire that opens a payload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from carrier.outbound import SubmissionWriter
from carrier.profile import CarrierProfile
from gateway.payload import PayloadBox
from gateway.pipeline.recounting import Recounter
from gateway.records import Envelope, decode_envelope
from gateway.store.contract import Waiting
from smsgw.v1 import message_pb2

_SECOND = 1_000_000


class MessageEncoder:
    """Opens and encodes messages. A message keeps its concatenation reference at every attempt, so that a handset can
    put parts of different attempts together."""

    def __init__(
        self, box: PayloadBox, profiles: Mapping[str, CarrierProfile], recounter: Recounter | None = None
    ) -> None:
        """`recounter` looks at what others have counted."""
        self._box = box
        self._recounter = recounter
        self._writers = {carrier: SubmissionWriter(profile) for carrier, profile in profiles.items()}

    def use(self, profiles: Iterable[CarrierProfile]) -> None:
        """Encode as these profiles say from now on. One that is not among them any more is kept: messages may be on
        their way to that carrier."""
        profiles = tuple(profiles)
        self._writers |= {profile.name: SubmissionWriter(profile) for profile in profiles}
        if self._recounter is not None:
            self._recounter.use(profiles)

    def number_of(self, message: Waiting) -> str:
        """Return the number of a message's recipient. Raises StoreCorrupt or Unavailable."""
        return self._envelope(message).recipient

    def _envelope(self, message: Waiting) -> Envelope:
        return decode_envelope(self._box.take(message.tenant, message.id, "envelope", message.envelope))

    def at_hand(self, messages: Iterable[Waiting]) -> bool:
        """Whether `encode` need not fetch a key for any of these."""
        return self._box.at_hand(_payloads_of(messages))

    async def ready(self, messages: Iterable[Waiting]) -> None:
        """Fetch the keys that `encode` needs for these, beside the event loop. Raises Unavailable."""
        await self._box.ready(_payloads_of(messages))

    def encode(self, message: Waiting, now: int, carrier: str) -> tuple[bytes, ...]:
        """Return one submit_sm body a part, as `carrier` wants them. Raises TextError, StoreCorrupt or Unavailable."""
        content = message_pb2.Content.FromString(self._box.take(message.tenant, message.id, "content", message.content))
        bodies = self.encode_content(content, message, now, carrier)
        if self._recounter is not None:
            self._recounter.look(message, content)
        return bodies

    def encode_content(
        self, content: message_pb2.Content, message: Waiting, now: int, carrier: str
    ) -> tuple[bytes, ...]:
        """Return the same for a content that is at hand: its caller had sealed it. Raises like `encode`."""
        envelope = self._envelope(message)
        text = content.text  # never empty where it is what the message says
        octets = None if text else content.binary
        return self._writers[carrier].write(
            sender=message.sender,
            recipient=envelope.recipient,
            text=text or None,
            data=octets.data if octets else b"",
            data_coding=octets.data_coding if octets else 0,
            user_data_header=octets.user_data_header if octets else b"",
            reference=message.id[14] << 8 | message.id[15],
            validity_s=max(1, (message.expires_at - now) // _SECOND),
            now_s=now // _SECOND,
            category=message.category,
            labels=envelope.labels,
        )


def _payloads_of(messages: Iterable[Waiting]) -> list[bytes]:
    return [payload for message in messages for payload in (message.envelope, message.content)]
