"""The layout of every PDU body as a table: which field has which form and size (SMPP 3.4 §4, §5.2).

The order of the fields is the order of the PDU's type in `carrier.smpp.messages`; this table says how each is written.
Sizes are in octets and count the NUL of a C-octet string, as the specification's tables do.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from carrier.smpp import messages as m
from carrier.smpp.constants import CommandId


class Form(enum.Enum):
    """How a field is written (SMPP 3.4 §3.1)."""

    INTEGER = 1  # one octet
    CSTRING = 2  # up to `size` octets, the last one NUL
    TIME = 3  # a C-octet string of exactly 1 or `size` octets (§7.1.1)
    SHORT_MESSAGE = 4  # one octet of length, then up to `size` octets
    DESTINATIONS = 5  # submit_multi: one octet of count, then flagged addresses
    UNSUCCESSFUL = 6  # submit_multi_resp: one octet of count, then addresses with their errors


class Field(NamedTuple):
    """One field of a body: its name in the specification, its form, its largest size in octets."""

    name: str
    form: Form
    size: int


class Layout(NamedTuple):
    """One PDU: its command_id, its type, its fields without the TLVs, which end every body."""

    command_id: CommandId
    pdu_type: type[m.Pdu]
    fields: tuple[Field, ...]


ADDRESS_SIZE = 21
DL_NAME_SIZE = 21
_INTEGER = (Form.INTEGER, 1)
_FORMS: Mapping[str, tuple[Form, int]] = {
    "system_id": (Form.CSTRING, 16),
    # The specification allows 9. Carriers hand out longer ones (Infobip does), and a carrier that does not take one
    # says so itself; to cut it would be to send another password.
    "password": (Form.CSTRING, 65),
    "system_type": (Form.CSTRING, 13),
    "interface_version": _INTEGER,
    "addr_ton": _INTEGER,
    "addr_npi": _INTEGER,
    "address_range": (Form.CSTRING, 41),
    "service_type": (Form.CSTRING, 6),
    "source_addr_ton": _INTEGER,
    "source_addr_npi": _INTEGER,
    "source_addr": (Form.CSTRING, ADDRESS_SIZE),
    "dest_addr_ton": _INTEGER,
    "dest_addr_npi": _INTEGER,
    "destination_addr": (Form.CSTRING, ADDRESS_SIZE),
    "dest_addresses": (Form.DESTINATIONS, 254),
    "unsuccess_smes": (Form.UNSUCCESSFUL, 255),
    "esm_class": _INTEGER,
    "protocol_id": _INTEGER,
    "priority_flag": _INTEGER,
    "schedule_delivery_time": (Form.TIME, 17),
    "validity_period": (Form.TIME, 17),
    "registered_delivery": _INTEGER,
    "replace_if_present_flag": _INTEGER,
    "data_coding": _INTEGER,
    "sm_default_msg_id": _INTEGER,
    "short_message": (Form.SHORT_MESSAGE, 254),
    "message_id": (Form.CSTRING, 65),
    "final_date": (Form.TIME, 17),
    "message_state": _INTEGER,
    "error_code": _INTEGER,
    "esme_addr_ton": _INTEGER,
    "esme_addr_npi": _INTEGER,
    "esme_addr": (Form.CSTRING, 65),
}
_LONG_ADDRESSES = {"source_addr": (Form.CSTRING, 65), "destination_addr": (Form.CSTRING, 65)}


def _layout(
    command_id: CommandId, pdu_type: type[m.Pdu], forms: Mapping[str, tuple[Form, int]] = MappingProxyType({})
) -> Layout:
    names = [name for name in pdu_type._fields if name != "tlvs"]
    return Layout(command_id, pdu_type, tuple(Field(name, *(forms.get(name) or _FORMS[name])) for name in names))


_C = CommandId
LAYOUTS: Mapping[int, Layout] = MappingProxyType(
    {
        int(layout.command_id): layout
        for layout in (
            _layout(_C.BIND_TRANSMITTER, m.BindTransmitter),
            _layout(_C.BIND_TRANSMITTER_RESP, m.BindTransmitterResp),
            _layout(_C.BIND_RECEIVER, m.BindReceiver),
            _layout(_C.BIND_RECEIVER_RESP, m.BindReceiverResp),
            _layout(_C.BIND_TRANSCEIVER, m.BindTransceiver),
            _layout(_C.BIND_TRANSCEIVER_RESP, m.BindTransceiverResp),
            _layout(_C.OUTBIND, m.Outbind),
            _layout(_C.UNBIND, m.Unbind),
            _layout(_C.UNBIND_RESP, m.UnbindResp),
            _layout(_C.GENERIC_NACK, m.GenericNack),
            _layout(_C.SUBMIT_SM, m.SubmitSm),
            _layout(_C.SUBMIT_SM_RESP, m.SubmitSmResp),
            _layout(_C.SUBMIT_MULTI, m.SubmitMulti),
            _layout(_C.SUBMIT_MULTI_RESP, m.SubmitMultiResp),
            _layout(_C.DELIVER_SM, m.DeliverSm),
            _layout(_C.DELIVER_SM_RESP, m.DeliverSmResp),
            _layout(_C.DATA_SM, m.DataSm, _LONG_ADDRESSES),
            _layout(_C.DATA_SM_RESP, m.DataSmResp),
            _layout(_C.QUERY_SM, m.QuerySm),
            _layout(_C.QUERY_SM_RESP, m.QuerySmResp),
            _layout(_C.CANCEL_SM, m.CancelSm),
            _layout(_C.CANCEL_SM_RESP, m.CancelSmResp),
            _layout(_C.REPLACE_SM, m.ReplaceSm),
            _layout(_C.REPLACE_SM_RESP, m.ReplaceSmResp),
            _layout(_C.ENQUIRE_LINK, m.EnquireLink),
            _layout(_C.ENQUIRE_LINK_RESP, m.EnquireLinkResp),
            _layout(_C.ALERT_NOTIFICATION, m.AlertNotification, _LONG_ADDRESSES),
        )
    }
)
LAYOUT_OF_TYPE: Mapping[type[m.Pdu], Layout] = MappingProxyType(
    {layout.pdu_type: layout for layout in LAYOUTS.values()}
)
