"""From a message to the bodies of its submit_sm (SMPP 3.4 §4.4.1), one for each segment. Hot: once for every message.

Owns what stands in them besides text (`carrier.text.writing`), addresses (`carrier.addresses`) and a carrier's own TLVs
(`carrier.tlvs`). Knows nothing of links, windows or stores.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, datetime

from carrier.addresses import AddressWriter
from carrier.errors import TextError
from carrier.profile import CarrierProfile
from carrier.smpp.pdu import encode_submit_sm
from carrier.submit_rules import ValidityForm
from carrier.text.writing import TextWriter
from carrier.tlvs import TlvWriter

_MAX_VALIDITY_S = 30 * 86_400  # the largest relative time that needs no months, whose length is anybody's guess
_NO_LABELS: Mapping[str, str] = {}


class SubmissionWriter:
    """Writes submissions for one carrier. What its profile says is worked out once, here."""

    def __init__(self, profile: CarrierProfile) -> None:
        """Raises TextError for settings that do not go together."""
        rules = profile.submit
        self._text = TextWriter(profile.text)
        self._addresses = AddressWriter(profile.addresses)
        self._recipient = profile.addresses.recipient
        self._tlvs = TlvWriter(profile.tlvs) if profile.tlvs else None
        self._service_type = rules.service_type.encode("ascii")
        self._protocol_id = rules.protocol_id
        self._registered_delivery = rules.registered_delivery
        self._priorities = (0, *rules.priorities)  # by category, which counts from 1
        self._replace_if_present = int(rules.replace_if_present)
        self._validity = _VALIDITIES[rules.validity_period]

    def write(
        self,
        *,
        sender: str,
        recipient: str,
        text: str | None = None,
        data: bytes = b"",
        data_coding: int = 0,
        user_data_header: bytes = b"",
        reference: int,
        validity_s: int | None,
        now_s: int = 0,
        category: int = 0,
        labels: Mapping[str, str] = _NO_LABELS,
    ) -> tuple[bytes, ...]:
        """Return one submit_sm body for each segment of a text, or, with `text` None, of octets; one body for all where
        the carrier takes message_payload.

        `sender` is alphanumeric, a short code or a number; `recipient` is E.164; `reference` (0 to 65,535) is the
        concatenation reference; `validity_s` counts from `now_s`, Unix seconds (at least 1 s; more than 30 days become
        30 days; None leaves it to the carrier); `category` is 1 to 3, 0 for none. Raises TextError for what cannot be
        sent so.
        """
        if text is None:
            segmented = self._text.segment_binary(data, data_coding, user_data_header, reference)
        else:
            segmented = self._text.segment(text, reference)
        source_ton, source_npi, source = self._addresses.sender(sender)
        dest_ton, dest_npi = self._recipient
        parts, tlvs = segmented.parts, segmented.tlvs
        own = b"" if self._tlvs is None else self._tlvs.write(sender, labels)
        first = encode_submit_sm(
            service_type=self._service_type,
            source_addr_ton=source_ton,
            source_addr_npi=source_npi,
            source_addr=source,
            dest_addr_ton=dest_ton,
            dest_addr_npi=dest_npi,
            dest_addr=self._addresses.recipient(recipient),
            esm_class=segmented.esm_class,
            protocol_id=self._protocol_id,
            priority_flag=self._priorities[category],
            validity_period=b"" if validity_s is None else self._validity(validity_s, now_s),
            registered_delivery=self._registered_delivery,
            data_coding=segmented.data_coding,
            short_message=parts[0],
            tlvs=tlvs[0] + own if tlvs else own,
            replace_if_present_flag=self._replace_if_present if len(parts) == 1 else 0,
        )
        return (first,) if len(parts) == 1 else _like_the_first(first, parts, tlvs, own)


def _like_the_first(first: bytes, parts: tuple[bytes, ...], tlvs: tuple[bytes, ...], own: bytes) -> tuple[bytes, ...]:
    """Return the bodies of all parts: up to the length of short_message they are the first one."""
    different = len(parts[0]) + (len(tlvs[0]) if tlvs else 0) + len(own)
    common = first[: len(first) - different - 1]
    if not tlvs:
        return tuple([b"%b%c%b%b" % (common, len(part), part, own) for part in parts])
    return tuple(
        [b"%b%c%b%b%b" % (common, len(part), part, extra, own) for part, extra in zip(parts, tlvs, strict=True)]
    )


def _relative(validity_s: int, now_s: int) -> bytes:
    del now_s
    return _relative_time(validity_s)


@functools.lru_cache(maxsize=8192)
def _relative_time(validity_s: int) -> bytes:
    """Return a relative time, YYMMDDhhmmsstnnp with p "R" (SMPP 3.4 §7.1.1.2)."""
    minutes, seconds = divmod(_bounded(validity_s), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return b"0000%02d%02d%02d%02d000R" % (days, hours, minutes, seconds)


def _absolute(validity_s: int, now_s: int) -> bytes:
    """Return an absolute time in UTC, YYMMDDhhmmsstnnp with p "+" and no quarters of an hour (SMPP 3.4 §7.1.1.1)."""
    end = datetime.fromtimestamp(now_s + _bounded(validity_s), UTC)
    return end.strftime("%y%m%d%H%M%S000+").encode("ascii")


def _untold(validity_s: int, now_s: int) -> bytes:
    del now_s
    _bounded(validity_s)
    return b""


def _bounded(validity_s: int) -> int:
    if validity_s < 1:
        raise TextError(f"a validity of {validity_s} s is over before it begins")
    return min(validity_s, _MAX_VALIDITY_S)


_VALIDITIES = {
    ValidityForm.RELATIVE: _relative,
    ValidityForm.ABSOLUTE: _absolute,
    ValidityForm.NONE: _untold,
}
