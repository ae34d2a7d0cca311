"""A receipt of the audit log as it stands in a file: JSON, its fields bounded. Nothing of it is verified here."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping

from smsgw.client.errors import ReceiptInvalid
from smsgw.client.log_proofs import HASH_BYTES, MAX_PATH

FORMAT = "smsgw-receipt-1"
MAX_RECEIPT_BYTES = 4 << 20
_MAX_TEXT = 256 << 10
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


def parse(receipt: str | bytes) -> Mapping[str, object]:
    """Return the document that a receipt is. Raises ReceiptInvalid."""
    if len(receipt) > MAX_RECEIPT_BYTES:
        raise ReceiptInvalid(f"a receipt has at most {MAX_RECEIPT_BYTES} octets", reason="MALFORMED")
    try:
        document = json.loads(receipt)
    except (ValueError, RecursionError):
        raise ReceiptInvalid("it is no JSON", reason="MALFORMED") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ReceiptInvalid(f"it is no receipt of the form {FORMAT}", reason="MALFORMED")
    return document


def objects_of(document: Mapping[str, object], name: str, at_most: int) -> list[Mapping[str, object]]:
    """Return a list of objects. Raises ReceiptInvalid, as all of these."""
    found = document.get(name, [])
    if not isinstance(found, list) or len(found) > at_most or not all(isinstance(each, dict) for each in found):
        raise malformed(name)
    return found


def number_of(document: Mapping[str, object], name: str, at_most: int) -> int:
    """Return a number that the protobuf JSON form writes as one, or as text; 0 when it is left out."""
    found = document.get(name, 0)
    if isinstance(found, str) and _NUMBER.fullmatch(found):
        found = int(found)
    if type(found) is not int or not 0 <= found <= at_most:
        raise malformed(name)
    return found


def text_of(document: Mapping[str, object], name: str) -> str:
    """Return a text."""
    found = document.get(name, "")
    if not isinstance(found, str) or len(found) > _MAX_TEXT:
        raise malformed(name)
    return found


def octets_of(document: Mapping[str, object], name: str, size: int | None = None) -> bytes:
    """Return octets, which are none or `size`."""
    return _decoded(text_of(document, name), name, size)


def hashes_of(document: Mapping[str, object], name: str) -> list[bytes]:
    """Return the hashes of a path."""
    found = document.get(name, [])
    if not isinstance(found, list) or len(found) > MAX_PATH:
        raise malformed(name)
    return [_decoded(each, name, HASH_BYTES) if isinstance(each, str) else b"" for each in found]


def _decoded(text: str, name: str, size: int | None) -> bytes:
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise malformed(name) from None
    if base64.b64encode(octets).decode() != text or (octets and size is not None and len(octets) != size):
        raise malformed(name)
    return octets


def malformed(name: str) -> ReceiptInvalid:
    """Return the error for a field."""
    return ReceiptInvalid(f"{name} of the receipt is missing, or not in its form", reason="MALFORMED")
