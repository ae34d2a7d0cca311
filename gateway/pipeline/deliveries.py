"""What a deliver_sm or data_sm from a carrier means: a receipt, or a part of an inbound message.

Reading a PDU never fails: hostile octets give an inbound message of odd characters, or a refusal with the status to
answer. Nothing read here is trusted beyond that; matching is the store's work.
"""

from __future__ import annotations

import logging

from carrier.inbound import InboundPart, pack_part, parse_inbound
from carrier.receipts import Receipt, parse_receipt
from carrier.smpp.pdu import DataSm, DeliverSm
from gateway.ids import IdSource
from gateway.payload import PayloadBox
from gateway.records import IndexKeys
from gateway.store.contract import NewInboundPart, NewReceipt
from gateway.tenants import Tenants

log = logging.getLogger(__name__)

ESME_RINVDSTADR = 0x0000000B  # no tenant owns the number: do not deliver it again
_GROUP_LIFETIME = 24 * 3600 * 1_000_000


class DeliveryReader:
    """Reads PDUs into records for the store."""

    def __init__(self, *, tenants: Tenants, keys: IndexKeys, box: PayloadBox, ids: IdSource) -> None:
        self._tenants = tenants
        self._keys = keys
        self._box = box
        self._ids = ids

    def read(self, carrier: str, pdu: DeliverSm | DataSm, now: int) -> NewReceipt | NewInboundPart | int:
        """Return what to store, or the command_status that refuses the PDU for good."""
        receipt = parse_receipt(pdu)
        if receipt is not None:
            return self._receipt(carrier, receipt, now)
        return self._inbound(carrier, parse_inbound(pdu), now)

    def _receipt(self, carrier: str, receipt: Receipt, now: int) -> NewReceipt:
        digits = receipt.recipient
        return NewReceipt(
            carrier,
            receipt.carrier_id,
            self._keys.recipient_hash("+" + digits) if digits else b"",
            receipt.part_state,
            now,
            receipt.done_at,
            receipt.stat,
            receipt.network_error,
        )

    def _inbound(self, carrier: str, part: InboundPart, now: int) -> NewInboundPart | int:
        tenant = self._tenants.owner_of_number(part.recipient)
        if tenant is None:
            log.warning("inbound_without_owner", extra={"carrier": carrier})
            return ESME_RINVDSTADR
        packed = pack_part(part)
        inbound_id = self._ids.new()
        group = b""
        if part.total > 1:
            group = self._keys.inbound_group(carrier, part.sender, part.recipient, part.reference or 0, part.total)
        return NewInboundPart(
            tenant,
            inbound_id,
            carrier,
            group,
            part.part,
            part.total,
            inbound_id + self._box.put(tenant, inbound_id, "inbound", packed),
            self._keys.inbound_fingerprint(carrier, packed),
            now,
            now + _GROUP_LIFETIME,
        )
