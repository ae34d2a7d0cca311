"""One field of a PDU body to octets and back (SMPP 3.4 §3.1): the forms that `carrier.smpp.layouts` names.

Encoding checks the specification's size. Decoding takes what the frame holds: a longer string than specified costs
nothing and is kept; only a field that does not end within the frame is `Malformed`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from carrier.errors import PduError
from carrier.smpp.layouts import ADDRESS_SIZE, DL_NAME_SIZE, Field, Form
from carrier.smpp.messages import DistributionList, SmeAddress, UnsuccessSme

_SME_ADDRESS, _DISTRIBUTION_LIST = 1, 2  # dest_flag (SMPP 3.4 §5.2.25)


class Malformed(Exception):
    """A field does not fit its frame; `carrier.smpp.pdu` turns it into a RecoverablePduError."""


def encode_field(field: Field, value: Any) -> bytes:
    """Return the octets of a field. Raises PduError for a value that the specification does not allow."""
    return _ENCODERS[field.form](field.name, value, field.size)


def decode_field(field: Field, frame: bytes, position: int) -> tuple[Any, int]:
    """Return the value at `position` and where the next field starts. Raises Malformed."""
    return _DECODERS[field.form](frame, position)


def _encode_integer(name: str, value: int, size: int) -> bytes:
    if not 0 <= value < 1 << (8 * size):
        raise PduError(f"{name}: {value} does not fit {size} octet{'s' if size > 1 else ''}")
    return value.to_bytes(size, "big")


def _encode_cstring(name: str, value: bytes, size: int) -> bytes:
    if len(value) >= size:
        raise PduError(f"{name}: {len(value)} octets, at most {size - 1} and a NUL (SMPP 3.4 §5.2)")
    if b"\0" in value:
        raise PduError(f"{name}: a C-octet string holds no NUL but its last (SMPP 3.4 §3.1)")
    return value + b"\0"


def _encode_time(name: str, value: bytes, size: int) -> bytes:
    if value and len(value) != size - 1:
        raise PduError(f"{name}: {len(value)} octets, it is empty or {size - 1} and a NUL (SMPP 3.4 §7.1.1)")
    return _encode_cstring(name, value, size)


def _encode_short_message(name: str, value: bytes, size: int) -> bytes:
    if len(value) > size:
        raise PduError(f"{name}: {len(value)} octets, at most {size}; longer ones go into message_payload")
    return bytes((len(value),)) + value


def _encode_destinations(name: str, value: tuple[SmeAddress | DistributionList, ...], size: int) -> bytes:
    if not 1 <= len(value) <= size:
        raise PduError(f"{name}: {len(value)} destinations, it has 1 to {size} (SMPP 3.4 §5.2.24)")
    parts = [bytes((len(value),))]
    for item in value:
        if isinstance(item, DistributionList):
            parts += bytes((_DISTRIBUTION_LIST,)), _encode_cstring("dl_name", item.dl_name, DL_NAME_SIZE)
        else:
            parts += bytes((_SME_ADDRESS,)), _encode_address(*item)
    return b"".join(parts)


def _encode_address(ton: int, npi: int, address: bytes) -> bytes:
    return (
        _encode_integer("dest_addr_ton", ton, 1)
        + _encode_integer("dest_addr_npi", npi, 1)
        + _encode_cstring("destination_addr", address, ADDRESS_SIZE)
    )


def _encode_unsuccessful(name: str, value: tuple[UnsuccessSme, ...], size: int) -> bytes:
    if len(value) > size:
        raise PduError(f"{name}: {len(value)} entries, at most {size} (SMPP 3.4 §5.2.26)")
    parts = [bytes((len(value),))]
    for ton, npi, address, error_status in value:
        parts += _encode_address(ton, npi, address), _encode_integer("error_status_code", error_status, 4)
    return b"".join(parts)


def _decode_integer(frame: bytes, position: int, size: int = 1) -> tuple[int, int]:
    if position + size > len(frame):
        raise Malformed("the body ends before its mandatory fields do")
    return int.from_bytes(frame[position : position + size], "big"), position + size


def _decode_cstring(frame: bytes, position: int) -> tuple[bytes, int]:
    end = frame.find(0, position)
    if end < 0:
        raise Malformed("a C-octet string is not terminated")
    return frame[position:end], end + 1


def _decode_short_message(frame: bytes, position: int) -> tuple[bytes, int]:
    length, position = _decode_integer(frame, position)
    if position + length > len(frame):
        raise Malformed("sm_length goes beyond the frame")
    return frame[position : position + length], position + length


def _decode_address(frame: bytes, position: int) -> tuple[tuple[int, int, bytes], int]:
    ton, position = _decode_integer(frame, position)
    npi, position = _decode_integer(frame, position)
    address, position = _decode_cstring(frame, position)
    return (ton, npi, address), position


def _decode_destinations(frame: bytes, position: int) -> tuple[tuple[SmeAddress | DistributionList, ...], int]:
    count, position = _decode_integer(frame, position)
    found: list[SmeAddress | DistributionList] = []
    for _ in range(count):
        flag, position = _decode_integer(frame, position)
        if flag == _SME_ADDRESS:
            address, position = _decode_address(frame, position)
            found.append(SmeAddress(*address))
        elif flag == _DISTRIBUTION_LIST:
            name, position = _decode_cstring(frame, position)
            found.append(DistributionList(name))
        else:
            raise Malformed(f"dest_flag {flag} is not 1 or 2")
    return tuple(found), position


def _decode_unsuccessful(frame: bytes, position: int) -> tuple[tuple[UnsuccessSme, ...], int]:
    count, position = _decode_integer(frame, position)
    found = []
    for _ in range(count):
        address, position = _decode_address(frame, position)
        error_status, position = _decode_integer(frame, position, 4)
        found.append(UnsuccessSme(*address, error_status))
    return tuple(found), position


_ENCODERS: dict[Form, Callable[[str, Any, int], bytes]] = {
    Form.INTEGER: _encode_integer,
    Form.CSTRING: _encode_cstring,
    Form.TIME: _encode_time,
    Form.SHORT_MESSAGE: _encode_short_message,
    Form.DESTINATIONS: _encode_destinations,
    Form.UNSUCCESSFUL: _encode_unsuccessful,
}
_DECODERS: dict[Form, Callable[[bytes, int], tuple[Any, int]]] = {
    Form.INTEGER: _decode_integer,
    Form.CSTRING: _decode_cstring,
    Form.TIME: _decode_cstring,
    Form.SHORT_MESSAGE: _decode_short_message,
    Form.DESTINATIONS: _decode_destinations,
    Form.UNSUCCESSFUL: _decode_unsuccessful,
}
