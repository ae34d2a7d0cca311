"""Reads what one carrier delivers, as its profile says that it writes: receipts, and messages from handsets."""

from __future__ import annotations

from carrier.inbound import InboundPart, parse_inbound
from carrier.profile import CarrierProfile
from carrier.receipt_rules import USUAL, ReceiptRules
from carrier.receipts import Receipt, parse_receipt, receipt_form
from carrier.smpp.pdu import DataSm, DeliverSm
from carrier.text.profile import PLAIN_TEXT, DefaultAlphabet, TextProfile
from carrier.tlvs import TlvRule


class PduReader:
    """Reads deliver_sm and data_sm of one carrier. Reading never fails."""

    def __init__(
        self, text: TextProfile = PLAIN_TEXT, receipts: ReceiptRules = USUAL, tlvs: tuple[TlvRule, ...] = ()
    ) -> None:
        """Raises ValueError for a time zone that is none."""
        self._alphabet = text.default_alphabet
        packed = self._alphabet is DefaultAlphabet.GSM7_PACKED
        self._receipts = receipt_form(receipts, packed=packed, tlvs=tlvs)

    @classmethod
    def of(cls, profile: CarrierProfile) -> PduReader:
        """Return the reader for a carrier."""
        return cls(profile.text, profile.receipts, profile.tlvs)

    def receipt(self, pdu: DeliverSm | DataSm) -> Receipt | None:
        """Return the receipt in `pdu`, None when it is none."""
        return parse_receipt(pdu, self._receipts)

    def inbound(self, pdu: DeliverSm | DataSm) -> InboundPart:
        """Return the part of a message that `pdu` carries."""
        return parse_inbound(pdu, self._alphabet)
