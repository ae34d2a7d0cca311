"""The same message as deliver_sm, as data_sm, as submit_sm, with its text here or there. Pure."""

from __future__ import annotations

from carrier.smpp.constants import Tag
from carrier.smpp.pdu import DataSm, DeliverSm, SubmitSm
from carrier.smpp.tlv import Tlv


def in_payload(pdu: DeliverSm) -> DeliverSm:
    """Return `pdu` with its text in message_payload (SMPP 3.4 §5.3.2.32)."""
    payload = (Tlv(Tag.MESSAGE_PAYLOAD, pdu.short_message),) if pdu.short_message else ()
    return pdu._replace(short_message=b"", tlvs=payload + pdu.tlvs)


def as_data_sm(pdu: DeliverSm) -> DataSm:
    """Return a deliver_sm as the data_sm with its fields."""
    moved = in_payload(pdu)
    return DataSm(
        service_type=moved.service_type,
        source_addr_ton=moved.source_addr_ton,
        source_addr_npi=moved.source_addr_npi,
        source_addr=moved.source_addr,
        dest_addr_ton=moved.dest_addr_ton,
        dest_addr_npi=moved.dest_addr_npi,
        destination_addr=moved.destination_addr,
        esm_class=moved.esm_class,
        data_coding=moved.data_coding,
        tlvs=moved.tlvs,
    )


def as_submit(pdu: SubmitSm | DataSm) -> SubmitSm:
    """Return a data_sm as the submit_sm with its fields."""
    if isinstance(pdu, SubmitSm):
        return pdu
    return SubmitSm(
        service_type=pdu.service_type,
        source_addr_ton=pdu.source_addr_ton,
        source_addr_npi=pdu.source_addr_npi,
        source_addr=pdu.source_addr,
        dest_addr_ton=pdu.dest_addr_ton,
        dest_addr_npi=pdu.dest_addr_npi,
        destination_addr=pdu.destination_addr,
        esm_class=pdu.esm_class,
        registered_delivery=pdu.registered_delivery,
        data_coding=pdu.data_coding,
        tlvs=pdu.tlvs,
    )
