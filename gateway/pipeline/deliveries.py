"""What a deliver_sm or data_sm from a carrier means: a receipt, or a part of an inbound message.

Reading a PDU never fails: hostile octets give an inbound message of odd characters, or a refusal with the status to
answer. Nothing read here is trusted beyond that; matching is the store's work.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence

from carrier.contract import Delivery, Link
from carrier.inbound import InboundPart, pack_part
from carrier.profile import CarrierProfile
from carrier.reading import PduReader
from carrier.receipts import Receipt
from gateway.ids import IdSource
from gateway.payload import PayloadBox
from gateway.pipeline.carrier_ids import CarrierIds
from gateway.pipeline.receipt_terms import ReceiptTerms
from gateway.records import IndexKeys
from gateway.store.contract import NewInboundPart
from gateway.store.indexing import PART_WAITS
from gateway.store.receipts import NewReceipt, Source
from gateway.tenants import Tenants

log = logging.getLogger(__name__)

ESME_RINVDSTADR = 0x0000000B  # no tenant owns the number: do not deliver it again
_SECOND = 1_000_000
_REDELIVERY_WITHIN = 600 * _SECOND  # a carrier redelivers what we did not answer within minutes of coming back
_PLAIN_READER = PduReader()
_BY_RECEIPT = int(Source.RECEIPT)
_tuple = tuple.__new__  # makes a named tuple in half the time that its class takes (hot)
_REMEMBERED = 10_000  # PDUs a connection
_MOST_OCCURRENCES = 0xFFFF


class Occurrences:
    """Counts equal PDUs on the present connection of each link; bounded.

    Nothing in a deliver_sm names it, and a handset may well send STOP twice. But what a carrier delivers twice on one
    connection, answered in between, are two messages; what comes again on the next connection is a redelivery. So the
    count of equal ones on its connection is part of a PDU's fingerprint.
    """

    def __init__(self) -> None:
        self._links: dict[str, tuple[int, OrderedDict[bytes, int]]] = {}

    def next(self, link: str, connection: int, packed: bytes) -> int:
        """Return how many equal PDUs came before on this connection."""
        known = self._links.get(link)
        if known is None or known[0] != connection:
            known = self._links[link] = (connection, OrderedDict())
        counts = known[1]
        count = counts.pop(packed, 0)
        counts[packed] = min(count + 1, _MOST_OCCURRENCES)
        if len(counts) > _REMEMBERED:
            counts.popitem(last=False)
        return count


class DeliveryReader:
    """Reads PDUs into records for the store."""

    def __init__(
        self,
        *,
        tenants: Tenants,
        keys: IndexKeys,
        box: PayloadBox,
        ids: IdSource,
        profiles: Iterable[CarrierProfile] = (),
        unread_ids: Counter[tuple[str, str]] | None = None,
    ) -> None:
        """`profiles` say how carriers write; one that is not among them writes plainly. `unread_ids` counts ids that
        are not written as a profile says, see `CarrierIds`."""
        self._tenants = tenants
        self._keys = keys
        self._box = box
        self._ids = ids
        self.carrier_ids = CarrierIds((), unread_ids)
        self.terms = ReceiptTerms()
        self._occurrences = Occurrences()
        self.use(tuple(profiles))

    def use(self, profiles: Sequence[CarrierProfile]) -> None:
        """Read as these profiles say from now on."""
        self.carrier_ids.use((profile.name, profile.ids) for profile in profiles)
        self.terms.use((profile.name, profile.receipts) for profile in profiles)
        self._readers = {profile.name: PduReader.of(profile) for profile in profiles}

    def read(self, link: Link, delivery: Delivery, now: int) -> NewReceipt | NewInboundPart | int:
        """Return what to store, or the command_status that refuses the PDU for good.

        Raises Unavailable when a key to seal it cannot be had at the moment: it is to be delivered again.
        """
        reader = self._readers.get(link.carrier, _PLAIN_READER)
        receipt = reader.receipt(delivery.pdu)
        if receipt is not None:
            return self._receipt(link.carrier, receipt, now)
        return self._inbound(link, delivery.connection, reader.inbound(delivery.pdu), now)

    def _receipt(self, carrier: str, receipt: Receipt, now: int) -> NewReceipt:
        carrier_id, part_state, stat, network_error, done_at, digits = receipt
        terms = self.terms.of(carrier)
        return _tuple(NewReceipt, (
            carrier,
            self.carrier_ids.of_receipt(carrier, carrier_id),
            b"".join(self._keys.recipient_hashes("+" + digits)) if digits else b"",
            part_state,
            now,
            done_at,
            stat,
            network_error,
            terms.parts_rule,
            terms.sent_by(done_at, now),
            terms.refusals,
            _BY_RECEIPT,
            "",
        ))  # fmt: skip

    def _inbound(self, link: Link, connection: int, part: InboundPart, now: int) -> NewInboundPart | int:
        carrier = link.carrier
        tenant = self._tenants.owner_of_number(part.recipient)
        if tenant is None:
            log.warning("inbound_without_owner", extra={"carrier": carrier})
            return ESME_RINVDSTADR
        packed = pack_part(part)
        inbound_id = self._ids.new()
        sealed = self._box.put(tenant, inbound_id, "inbound", packed)
        occurrence = self._occurrences.next(link.name, connection, packed)
        hashes = [
            (_group(keys, carrier, part), keys.inbound_fingerprint(carrier, packed, occurrence))
            for keys in (self._keys, *self._keys.older)
        ]
        group, fingerprint = hashes[0]
        return NewInboundPart(
            tenant,
            inbound_id,
            carrier,
            group,
            part.part,
            part.total,
            inbound_id + sealed,
            fingerprint,
            now + _REDELIVERY_WITHIN,
            now,
            now + PART_WAITS,
            tuple(hashes[1:]),
        )


def _group(keys: IndexKeys, carrier: str, part: InboundPart) -> bytes:
    if part.total == 1:
        return b""
    return keys.inbound_group(carrier, part.sender, part.recipient, part.reference or 0, part.total)
