"""Reads what one carrier delivers, as its profile says that it writes: receipts, and messages from handsets."""

from __future__ import annotations

from carrier.inbound import InboundPart, parse_inbound
from carrier.profile import CarrierProfile
from carrier.receipts import Receipt, parse_receipt
from carrier.smpp.pdu import DataSm, DeliverSm
from carrier.text.profile import PLAIN_TEXT, TextProfile


class PduReader:
    """Reads deliver_sm and data_sm of one carrier. Reading never fails."""

    def __init__(self, text: TextProfile = PLAIN_TEXT) -> None:
        self._alphabet = text.default_alphabet

    @classmethod
    def of(cls, profile: CarrierProfile) -> PduReader:
        """Return the reader for a carrier."""
        return cls(profile.text)

    def receipt(self, pdu: DeliverSm | DataSm) -> Receipt | None:
        """Return the receipt in `pdu`, None when it is none."""
        return parse_receipt(pdu)

    def inbound(self, pdu: DeliverSm | DataSm) -> InboundPart:
        """Return the part of a message that `pdu` carries."""
        return parse_inbound(pdu, self._alphabet)
