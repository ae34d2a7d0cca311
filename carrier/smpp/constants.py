"""The numbers of SMPP 3.4: command ids, command statuses, TLV tags, and the few flags we name.

The numbers come from smpplib's tables when this module is imported (smpplib is LGPL: used, not copied); what its tables
lack is written here with its source. Knows nothing of octets: see `carrier.smpp.pdu`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from smpplib import command_codes, consts

_COMMANDS: Mapping[str, int] = command_codes.commands
_TAGS: Mapping[str, int] = consts.OPTIONAL_PARAMS

RESPONSE_BIT = 0x80000000  # SMPP 3.4 §5.1.2.1: set in the command_id of every response
SEQUENCE_MAX = 0x7FFFFFFF  # SMPP 3.4 §5.1.4
HEADER_BYTES = 16  # SMPP 3.4 §3.2
VERSION_34: int = consts.SMPP_VERSION_34


class CommandId(enum.IntEnum):
    """command_id (SMPP 3.4 §5.1.2.1)."""

    GENERIC_NACK = _COMMANDS["generic_nack"]
    BIND_RECEIVER = _COMMANDS["bind_receiver"]
    BIND_RECEIVER_RESP = _COMMANDS["bind_receiver_resp"]
    BIND_TRANSMITTER = _COMMANDS["bind_transmitter"]
    BIND_TRANSMITTER_RESP = _COMMANDS["bind_transmitter_resp"]
    QUERY_SM = _COMMANDS["query_sm"]
    QUERY_SM_RESP = _COMMANDS["query_sm_resp"]
    SUBMIT_SM = _COMMANDS["submit_sm"]
    SUBMIT_SM_RESP = _COMMANDS["submit_sm_resp"]
    DELIVER_SM = _COMMANDS["deliver_sm"]
    DELIVER_SM_RESP = _COMMANDS["deliver_sm_resp"]
    UNBIND = _COMMANDS["unbind"]
    UNBIND_RESP = _COMMANDS["unbind_resp"]
    REPLACE_SM = _COMMANDS["replace_sm"]
    REPLACE_SM_RESP = _COMMANDS["replace_sm_resp"]
    CANCEL_SM = _COMMANDS["cancel_sm"]
    CANCEL_SM_RESP = _COMMANDS["cancel_sm_resp"]
    BIND_TRANSCEIVER = _COMMANDS["bind_transceiver"]
    BIND_TRANSCEIVER_RESP = _COMMANDS["bind_transceiver_resp"]
    OUTBIND = _COMMANDS["outbind"]
    ENQUIRE_LINK = _COMMANDS["enquire_link"]
    ENQUIRE_LINK_RESP = _COMMANDS["enquire_link_resp"]
    SUBMIT_MULTI = _COMMANDS["submit_multi"]
    SUBMIT_MULTI_RESP = _COMMANDS["submit_multi_resp"]
    ALERT_NOTIFICATION = _COMMANDS["alert_notification"]
    DATA_SM = _COMMANDS["data_sm"]
    DATA_SM_RESP = _COMMANDS["data_sm_resp"]


class Status(enum.IntEnum):
    """command_status (SMPP 3.4 §5.1.3, 5.0 §4.7.6). Carriers add their own: on the wire it is an int, not always a
    member."""

    ESME_ROK = consts.SMPP_ESME_ROK
    ESME_RINVMSGLEN = consts.SMPP_ESME_RINVMSGLEN
    ESME_RINVCMDLEN = consts.SMPP_ESME_RINVCMDLEN
    ESME_RINVCMDID = consts.SMPP_ESME_RINVCMDID
    ESME_RINVBNDSTS = consts.SMPP_ESME_RINVBNDSTS
    ESME_RALYBND = consts.SMPP_ESME_RALYBND
    ESME_RINVPRTFLG = consts.SMPP_ESME_RINVPRTFLG
    ESME_RINVREGDLVFLG = consts.SMPP_ESME_RINVREGDLVFLG
    ESME_RSYSERR = consts.SMPP_ESME_RSYSERR
    ESME_RINVSRCADR = consts.SMPP_ESME_RINVSRCADR
    ESME_RINVDSTADR = consts.SMPP_ESME_RINVDSTADR
    ESME_RINVMSGID = consts.SMPP_ESME_RINVMSGID
    ESME_RBINDFAIL = consts.SMPP_ESME_RBINDFAIL
    ESME_RINVPASWD = consts.SMPP_ESME_RINVPASWD
    ESME_RINVSYSID = consts.SMPP_ESME_RINVSYSID
    ESME_RCANCELFAIL = consts.SMPP_ESME_RCANCELFAIL
    ESME_RREPLACEFAIL = consts.SMPP_ESME_RREPLACEFAIL
    ESME_RMSGQFUL = consts.SMPP_ESME_RMSGQFUL
    ESME_RINVSERTYP = consts.SMPP_ESME_RINVSERTYP
    ESME_RINVNUMDESTS = consts.SMPP_ESME_RINVNUMDESTS
    ESME_RINVDLNAME = consts.SMPP_ESME_RINVDLNAME
    ESME_RINVDESTFLAG = consts.SMPP_ESME_RINVDESTFLAG
    ESME_RINVSUBREP = consts.SMPP_ESME_RINVSUBREP
    ESME_RINVESMCLASS = consts.SMPP_ESME_RINVESMCLASS
    ESME_RCNTSUBDL = consts.SMPP_ESME_RCNTSUBDL
    ESME_RSUBMITFAIL = consts.SMPP_ESME_RSUBMITFAIL
    ESME_RINVSRCTON = consts.SMPP_ESME_RINVSRCTON
    ESME_RINVSRCNPI = consts.SMPP_ESME_RINVSRCNPI
    ESME_RINVDSTTON = consts.SMPP_ESME_RINVDSTTON
    ESME_RINVDSTNPI = consts.SMPP_ESME_RINVDSTNPI
    ESME_RINVSYSTYP = consts.SMPP_ESME_RINVSYSTYP
    ESME_RINVREPFLAG = consts.SMPP_ESME_RINVREPFLAG
    ESME_RINVNUMMSGS = consts.SMPP_ESME_RINVNUMMSGS
    ESME_RTHROTTLED = consts.SMPP_ESME_RTHROTTLED
    ESME_RINVSCHED = consts.SMPP_ESME_RINVSCHED
    ESME_RINVEXPIRY = consts.SMPP_ESME_RINVEXPIRY
    ESME_RINVDFTMSGID = consts.SMPP_ESME_RINVDFTMSGID
    ESME_RX_T_APPN = consts.SMPP_ESME_RX_T_APPN
    ESME_RX_P_APPN = consts.SMPP_ESME_RX_P_APPN
    ESME_RX_R_APPN = consts.SMPP_ESME_RX_R_APPN
    ESME_RQUERYFAIL = consts.SMPP_ESME_RQUERYFAIL
    ESME_RINVOPTPARSTREAM = consts.SMPP_ESME_RINVOPTPARSTREAM
    ESME_ROPTPARNOTALLWD = consts.SMPP_ESME_ROPTPARNOTALLWD
    ESME_RINVPARLEN = consts.SMPP_ESME_RINVPARLEN
    ESME_RMISSINGOPTPARAM = consts.SMPP_ESME_RMISSINGOPTPARAM
    ESME_RINVOPTPARAMVAL = consts.SMPP_ESME_RINVOPTPARAMVAL
    ESME_RDELIVERYFAILURE = consts.SMPP_ESME_RDELIVERYFAILURE
    ESME_RUNKNOWNERR = consts.SMPP_ESME_RUNKNOWNERR
    # SMPP 5.0 §4.7.6 adds these.
    ESME_RSERTYPUNAUTH = 0x100
    ESME_RPROHIBITED = 0x101
    ESME_RSERTYPUNAVAIL = 0x102
    ESME_RSERTYPDENIED = 0x103
    ESME_RINVDCS = 0x104
    ESME_RINVSRCADDRSUBUNIT = 0x105
    ESME_RINVDSTADDRSUBUNIT = 0x106
    ESME_RINVBCASTFREQINT = 0x107
    ESME_RINVBCASTALIAS_NAME = 0x108
    ESME_RINVBCASTAREAFMT = 0x109
    ESME_RINVNUMBCAST_AREAS = 0x10A
    ESME_RINVBCASTCNTTYPE = 0x10B
    ESME_RINVBCASTMSGCLASS = 0x10C
    ESME_RBCASTFAIL = 0x10D
    ESME_RBCASTQUERYFAIL = 0x10E
    ESME_RBCASTCANCELFAIL = 0x10F
    ESME_RINVBCAST_REP = 0x110
    ESME_RINVBCASTSRVGRP = 0x111
    ESME_RINVBCASTCHANIND = 0x112


class Tag(enum.IntEnum):
    """TLV tags (SMPP 3.4 §5.3.2, 5.0 §4.8.4). Carriers add their own: on the wire it is an int, not always a member."""

    DEST_ADDR_SUBUNIT = _TAGS["dest_addr_subunit"]
    DEST_NETWORK_TYPE = _TAGS["dest_network_type"]
    DEST_BEARER_TYPE = _TAGS["dest_bearer_type"]
    DEST_TELEMATICS_ID = _TAGS["dest_telematics_id"]
    SOURCE_ADDR_SUBUNIT = _TAGS["source_addr_subunit"]
    SOURCE_NETWORK_TYPE = _TAGS["source_network_type"]
    SOURCE_BEARER_TYPE = _TAGS["source_bearer_type"]
    SOURCE_TELEMATICS_ID = _TAGS["source_telematics_id"]
    QOS_TIME_TO_LIVE = _TAGS["qos_time_to_live"]
    PAYLOAD_TYPE = _TAGS["payload_type"]
    ADDITIONAL_STATUS_INFO_TEXT = _TAGS["additional_status_info_text"]
    RECEIPTED_MESSAGE_ID = _TAGS["receipted_message_id"]
    MS_MSG_WAIT_FACILITIES = _TAGS["ms_msg_wait_facilities"]
    PRIVACY_INDICATOR = _TAGS["privacy_indicator"]
    SOURCE_SUBADDRESS = _TAGS["source_subaddress"]
    DEST_SUBADDRESS = _TAGS["dest_subaddress"]
    USER_MESSAGE_REFERENCE = _TAGS["user_message_reference"]
    USER_RESPONSE_CODE = _TAGS["user_response_code"]
    SOURCE_PORT = _TAGS["source_port"]
    DESTINATION_PORT = _TAGS["destination_port"]
    SAR_MSG_REF_NUM = _TAGS["sar_msg_ref_num"]
    LANGUAGE_INDICATOR = _TAGS["language_indicator"]
    SAR_TOTAL_SEGMENTS = _TAGS["sar_total_segments"]
    SAR_SEGMENT_SEQNUM = _TAGS["sar_segment_seqnum"]
    SC_INTERFACE_VERSION = _TAGS["sc_interface_version"]
    CALLBACK_NUM_PRES_IND = _TAGS["callback_num_pres_ind"]
    CALLBACK_NUM_ATAG = _TAGS["callback_num_atag"]
    NUMBER_OF_MESSAGES = _TAGS["number_of_messages"]
    CALLBACK_NUM = _TAGS["callback_num"]
    DPF_RESULT = _TAGS["dpf_result"]
    SET_DPF = _TAGS["set_dpf"]
    MS_AVAILABILITY_STATUS = _TAGS["ms_availability_status"]
    NETWORK_ERROR_CODE = _TAGS["network_error_code"]
    MESSAGE_PAYLOAD = _TAGS["message_payload"]
    DELIVERY_FAILURE_REASON = _TAGS["delivery_failure_reason"]
    MORE_MESSAGES_TO_SEND = _TAGS["more_messages_to_send"]
    MESSAGE_STATE = _TAGS["message_state"]
    CONGESTION_STATE = 0x0428  # SMPP 5.0 §4.8.4.18; seen on ordinary 3.4 links
    USSD_SERVICE_OP = _TAGS["ussd_service_op"]
    # SMPP 5.0 §4.8.4 adds these; billing_identification is seen on ordinary 3.4 links too.
    BROADCAST_CHANNEL_INDICATOR = 0x0600
    BROADCAST_CONTENT_TYPE = 0x0601
    BROADCAST_CONTENT_TYPE_INFO = 0x0602
    BROADCAST_MESSAGE_CLASS = 0x0603
    BROADCAST_REP_NUM = 0x0604
    BROADCAST_FREQUENCY_INTERVAL = 0x0605
    BROADCAST_AREA_IDENTIFIER = 0x0606
    BROADCAST_ERROR_STATUS = 0x0607
    BROADCAST_AREA_SUCCESS = 0x0608
    BROADCAST_END_TIME = 0x0609
    BROADCAST_SERVICE_GROUP = 0x060A
    BILLING_IDENTIFICATION = 0x060B
    SOURCE_NETWORK_ID = 0x060D
    DEST_NETWORK_ID = 0x060E
    SOURCE_NODE_ID = 0x060F
    DEST_NODE_ID = 0x0610
    DEST_ADDR_NP_RESOLUTION = 0x0611
    DEST_ADDR_NP_INFORMATION = 0x0612
    DEST_ADDR_NP_COUNTRY = 0x0613
    DISPLAY_TIME = _TAGS["display_time"]
    SMS_SIGNAL = _TAGS["sms_signal"]
    MS_VALIDITY = _TAGS["ms_validity"]
    ALERT_ON_MESSAGE_DELIVERY = _TAGS["alert_on_message_delivery"]
    ITS_REPLY_TYPE = _TAGS["its_reply_type"]
    ITS_SESSION_INFO = _TAGS["its_session_info"]


class MessageState(enum.IntEnum):
    """message_state (SMPP 3.4 §5.2.28; SMPP 5.0 §4.7.15 adds the first and the last)."""

    SCHEDULED = 0
    ENROUTE = 1
    DELIVERED = 2
    EXPIRED = 3
    DELETED = 4
    UNDELIVERABLE = 5
    ACCEPTED = 6
    UNKNOWN = 7
    REJECTED = 8
    SKIPPED = 9


STATUS_NAMES: Mapping[int, str] = MappingProxyType({int(status): status.name for status in Status})
_DESCRIPTIONS_50 = {
    Status.ESME_RSERTYPUNAUTH: "The account may not use this service_type",
    Status.ESME_RPROHIBITED: "The account may not use this operation",
    Status.ESME_RSERTYPUNAVAIL: "This service_type is not available",
    Status.ESME_RSERTYPDENIED: "This service_type is denied",
    Status.ESME_RINVDCS: "Invalid data_coding",
    Status.ESME_RINVSRCADDRSUBUNIT: "Invalid source_addr_subunit",
    Status.ESME_RINVDSTADDRSUBUNIT: "Invalid dest_addr_subunit",
}
STATUS_DESCRIPTIONS: Mapping[int, str] = MappingProxyType(dict(consts.DESCRIPTIONS) | _DESCRIPTIONS_50)
COMMAND_NAMES: Mapping[int, str] = MappingProxyType({code: name for name, code in _COMMANDS.items()})


def status_name(status: int) -> str:
    """Return the name of a command_status: "ESME_RTHROTTLED", or "0x00000401" for one that SMPP does not define."""
    return STATUS_NAMES.get(status) or f"0x{status:08X}"


def status_description(status: int) -> str:
    """Return a command_status for people: its name and what it means."""
    description = STATUS_DESCRIPTIONS.get(status)
    return f"{status_name(status)}: {description}" if description else f"{status_name(status)}: not defined by SMPP"


def command_name(command_id: int) -> str:
    """Return the name of a command_id: "submit_sm", or "0x00000666" for an unknown one."""
    return COMMAND_NAMES.get(command_id) or f"0x{command_id:08X}"
