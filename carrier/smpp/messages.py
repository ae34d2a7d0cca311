"""The PDUs of SMPP 3.4 §4 as typed tuples: fields named and ordered as in the specification.

NamedTuples, because a link makes one per PDU. C-octet strings are bytes without their NUL; numbers are 0 to 255 unless
said otherwise; `tlvs` are the optional parameters in their order on the wire. `sm_length` and the counts of lists are
not fields: they follow from the contents. A repr shows no password, no address and no text.

Two PDUs of different types with equal fields compare equal, as tuples do: compare the types too where that matters.
"""

from __future__ import annotations

from typing import NamedTuple

from carrier.smpp.constants import VERSION_34
from carrier.smpp.tlv import Tlv


def _veiled(pdu: tuple[object, ...], names: tuple[str, ...]) -> str:
    """Name the type and every numeric field; of octets and lists, only the size."""
    shown = (
        f"{name}={value}"
        if isinstance(value, int)
        else f"{name}=<{len(value) if isinstance(value, bytes | tuple) else 0}>"
        for name, value in zip(names, pdu, strict=True)
    )
    return f"{type(pdu).__name__}({', '.join(shown)})"


class BindTransmitter(NamedTuple):
    """SMPP 3.4 §4.1.1."""

    system_id: bytes
    password: bytes
    system_type: bytes = b""
    interface_version: int = VERSION_34
    addr_ton: int = 0
    addr_npi: int = 0
    address_range: bytes = b""
    tlvs: tuple[Tlv, ...] = ()

    def __repr__(self) -> str:
        return _veiled(self, self._fields)


class BindTransmitterResp(NamedTuple):
    """SMPP 3.4 §4.1.2."""

    system_id: bytes = b""
    tlvs: tuple[Tlv, ...] = ()


class BindReceiver(NamedTuple):
    """SMPP 3.4 §4.1.3."""

    system_id: bytes
    password: bytes
    system_type: bytes = b""
    interface_version: int = VERSION_34
    addr_ton: int = 0
    addr_npi: int = 0
    address_range: bytes = b""
    tlvs: tuple[Tlv, ...] = ()

    def __repr__(self) -> str:
        return _veiled(self, self._fields)


class BindReceiverResp(NamedTuple):
    """SMPP 3.4 §4.1.4."""

    system_id: bytes = b""
    tlvs: tuple[Tlv, ...] = ()


class BindTransceiver(NamedTuple):
    """SMPP 3.4 §4.1.5."""

    system_id: bytes
    password: bytes
    system_type: bytes = b""
    interface_version: int = VERSION_34
    addr_ton: int = 0
    addr_npi: int = 0
    address_range: bytes = b""
    tlvs: tuple[Tlv, ...] = ()

    def __repr__(self) -> str:
        return _veiled(self, self._fields)


class BindTransceiverResp(NamedTuple):
    """SMPP 3.4 §4.1.6."""

    system_id: bytes = b""
    tlvs: tuple[Tlv, ...] = ()


class Outbind(NamedTuple):
    """SMPP 3.4 §4.1.7."""

    system_id: bytes
    password: bytes
    tlvs: tuple[Tlv, ...] = ()

    def __repr__(self) -> str:
        return _veiled(self, self._fields)


class Unbind(NamedTuple):
    """SMPP 3.4 §4.2.1."""

    tlvs: tuple[Tlv, ...] = ()


class UnbindResp(NamedTuple):
    """SMPP 3.4 §4.2.2."""

    tlvs: tuple[Tlv, ...] = ()


class GenericNack(NamedTuple):
    """SMPP 3.4 §4.3.1."""

    tlvs: tuple[Tlv, ...] = ()


class SubmitSm(NamedTuple):
    """SMPP 3.4 §4.4.1."""

    service_type: bytes = b""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: bytes = b""
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: bytes = b""
    esm_class: int = 0
    protocol_id: int = 0
    priority_flag: int = 0
    schedule_delivery_time: bytes = b""
    validity_period: bytes = b""
    registered_delivery: int = 0
    replace_if_present_flag: int = 0
    data_coding: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = b""
    tlvs: tuple[Tlv, ...] = ()

    def __repr__(self) -> str:
        return _veiled(self, self._fields)


class SubmitSmResp(NamedTuple):
    """SMPP 3.4 §4.4.2."""

    message_id: bytes = b""
    tlvs: tuple[Tlv, ...] = ()


class SmeAddress(NamedTuple):
    """An address of submit_multi (SMPP 3.4 §4.5.1.1)."""

    dest_addr_ton: int
    dest_addr_npi: int
    destination_addr: bytes

    def __repr__(self) -> str:
        return _veiled(self, self._fields)


class DistributionList(NamedTuple):
    """A distribution list of submit_multi (SMPP 3.4 §4.5.1.2)."""

    dl_name: bytes


class UnsuccessSme(NamedTuple):
    """An address that submit_multi could not reach (SMPP 3.4 §4.5.2.1); `error_status` is a command_status."""

    dest_addr_ton: int
    dest_addr_npi: int
    destination_addr: bytes
    error_status: int

    def __repr__(self) -> str:
        return _veiled(self, self._fields)


class SubmitMulti(NamedTuple):
    """SMPP 3.4 §4.5.1."""

    service_type: bytes = b""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: bytes = b""
    dest_addresses: tuple[SmeAddress | DistributionList, ...] = ()
    esm_class: int = 0
    protocol_id: int = 0
    priority_flag: int = 0
    schedule_delivery_time: bytes = b""
    validity_period: bytes = b""
    registered_delivery: int = 0
    replace_if_present_flag: int = 0
    data_coding: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = b""
    tlvs: tuple[Tlv, ...] = ()

    def __repr__(self) -> str:
        return _veiled(self, self._fields)


class SubmitMultiResp(NamedTuple):
    """SMPP 3.4 §4.5.2."""

    message_id: bytes = b""
    unsuccess_smes: tuple[UnsuccessSme, ...] = ()
    tlvs: tuple[Tlv, ...] = ()


class DeliverSm(NamedTuple):
    """SMPP 3.4 §4.6.1."""

    service_type: bytes = b""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: bytes = b""
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: bytes = b""
    esm_class: int = 0
    protocol_id: int = 0
    priority_flag: int = 0
    schedule_delivery_time: bytes = b""
    validity_period: bytes = b""
    registered_delivery: int = 0
    replace_if_present_flag: int = 0
    data_coding: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = b""
    tlvs: tuple[Tlv, ...] = ()

    def __repr__(self) -> str:
        return _veiled(self, self._fields)


class DeliverSmResp(NamedTuple):
    """SMPP 3.4 §4.6.2: `message_id` is unused, and empty."""

    message_id: bytes = b""
    tlvs: tuple[Tlv, ...] = ()


class DataSm(NamedTuple):
    """SMPP 3.4 §4.7.1."""

    service_type: bytes = b""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: bytes = b""
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: bytes = b""
    esm_class: int = 0
    registered_delivery: int = 0
    data_coding: int = 0
    tlvs: tuple[Tlv, ...] = ()

    def __repr__(self) -> str:
        return _veiled(self, self._fields)


class DataSmResp(NamedTuple):
    """SMPP 3.4 §4.7.2."""

    message_id: bytes = b""
    tlvs: tuple[Tlv, ...] = ()


class QuerySm(NamedTuple):
    """SMPP 3.4 §4.8.1."""

    message_id: bytes
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: bytes = b""
    tlvs: tuple[Tlv, ...] = ()

    def __repr__(self) -> str:
        return _veiled(self, self._fields)


class QuerySmResp(NamedTuple):
    """SMPP 3.4 §4.8.2."""

    message_id: bytes = b""
    final_date: bytes = b""
    message_state: int = 0
    error_code: int = 0
    tlvs: tuple[Tlv, ...] = ()


class CancelSm(NamedTuple):
    """SMPP 3.4 §4.9.1."""

    service_type: bytes = b""
    message_id: bytes = b""
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: bytes = b""
    dest_addr_ton: int = 0
    dest_addr_npi: int = 0
    destination_addr: bytes = b""
    tlvs: tuple[Tlv, ...] = ()

    def __repr__(self) -> str:
        return _veiled(self, self._fields)


class CancelSmResp(NamedTuple):
    """SMPP 3.4 §4.9.2."""

    tlvs: tuple[Tlv, ...] = ()


class ReplaceSm(NamedTuple):
    """SMPP 3.4 §4.10.1."""

    message_id: bytes
    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: bytes = b""
    schedule_delivery_time: bytes = b""
    validity_period: bytes = b""
    registered_delivery: int = 0
    sm_default_msg_id: int = 0
    short_message: bytes = b""
    tlvs: tuple[Tlv, ...] = ()

    def __repr__(self) -> str:
        return _veiled(self, self._fields)


class ReplaceSmResp(NamedTuple):
    """SMPP 3.4 §4.10.2."""

    tlvs: tuple[Tlv, ...] = ()


class EnquireLink(NamedTuple):
    """SMPP 3.4 §4.11.1."""

    tlvs: tuple[Tlv, ...] = ()


class EnquireLinkResp(NamedTuple):
    """SMPP 3.4 §4.11.2."""

    tlvs: tuple[Tlv, ...] = ()


class AlertNotification(NamedTuple):
    """SMPP 3.4 §4.12.1."""

    source_addr_ton: int = 0
    source_addr_npi: int = 0
    source_addr: bytes = b""
    esme_addr_ton: int = 0
    esme_addr_npi: int = 0
    esme_addr: bytes = b""
    tlvs: tuple[Tlv, ...] = ()

    def __repr__(self) -> str:
        return _veiled(self, self._fields)


Pdu = (
    BindTransmitter | BindTransmitterResp | BindReceiver | BindReceiverResp | BindTransceiver | BindTransceiverResp
    | Outbind | Unbind | UnbindResp | GenericNack | SubmitSm | SubmitSmResp | SubmitMulti | SubmitMultiResp
    | DeliverSm | DeliverSmResp | DataSm | DataSmResp | QuerySm | QuerySmResp | CancelSm | CancelSmResp
    | ReplaceSm | ReplaceSmResp | EnquireLink | EnquireLinkResp | AlertNotification
)  # fmt: skip
