"""The one message of the Workload API that is read here: octets in, a frozen object out (Workload API §5.1).

The Workload API's definition has no package, and PyPI's `spiffe` registers it too: two registrations of it in
protobuf's common pool end the process that makes them. So what is read here stands in a pool of its own, and a service
may use both libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from certs.errors import BadUpdate

METHOD: Final = "/SpiffeWorkloadAPI/FetchX509SVID"
HEADER: Final = (("workload.spiffe.io", "true"),)  # Workload Endpoint §3
REQUEST: Final = b""  # X509SVIDRequest has no fields
MAX_UPDATE_BYTES: Final = 4 * 1024 * 1024

_Field = descriptor_pb2.FieldDescriptorProto


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedSvid:
    """One X509SVID, as it came: nothing of it is checked."""

    spiffe_id: str
    chain: bytes
    key: bytes = field(repr=False)
    bundle: bytes
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One X509SVIDResponse, as it came. Revocation lists are not read: SPIFFE has no profile for them."""

    svids: tuple[OfferedSvid, ...]
    federated: Mapping[str, bytes]


def read_offer(octets: bytes) -> Offer:
    """Return the message in `octets`. Raises BadUpdate when it is none, or is larger than 4 MiB."""
    if len(octets) > MAX_UPDATE_BYTES:
        raise BadUpdate(f"the Workload API sent {len(octets)} bytes; {MAX_UPDATE_BYTES} at most are read")
    try:
        found: Any = _RESPONSE.FromString(octets)
    except DecodeError as refused:
        raise BadUpdate("the Workload API sent what is no X509SVIDResponse") from refused
    svids = tuple(
        OfferedSvid(spiffe_id=svid.spiffe_id, chain=svid.x509_svid, key=svid.x509_svid_key, bundle=svid.bundle,
                    hint=svid.hint)
        for svid in found.svids
    )  # fmt: skip
    return Offer(svids=svids, federated=dict(found.federated_bundles))


def _message(name: str, *fields: tuple[str, int, int]) -> descriptor_pb2.DescriptorProto:
    """Return a message of single fields: name, number, type."""
    message = descriptor_pb2.DescriptorProto(name=name)
    for field_name, number, kind in fields:
        message.field.add(name=field_name, number=number, type=kind, label=_Field.LABEL_OPTIONAL)
    return message


def _response() -> Any:
    svid = _message(
        "X509SVID",
        ("spiffe_id", 1, _Field.TYPE_STRING),
        ("x509_svid", 2, _Field.TYPE_BYTES),
        ("x509_svid_key", 3, _Field.TYPE_BYTES),
        ("bundle", 4, _Field.TYPE_BYTES),
        ("hint", 5, _Field.TYPE_STRING),
    )
    entry = _message("FederatedBundlesEntry", ("key", 1, _Field.TYPE_STRING), ("value", 2, _Field.TYPE_BYTES))
    entry.options.map_entry = True
    response = descriptor_pb2.DescriptorProto(name="X509SVIDResponse", nested_type=[entry])
    for name, number, kind in (
        ("svids", 1, ".X509SVID"),
        ("federated_bundles", 3, ".X509SVIDResponse.FederatedBundlesEntry"),
    ):
        response.field.add(
            name=name, number=number, type=_Field.TYPE_MESSAGE, type_name=kind, label=_Field.LABEL_REPEATED
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(
        descriptor_pb2.FileDescriptorProto(
            name="certs/workload/messages.proto", syntax="proto3", message_type=[svid, response]
        )
    )
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("X509SVIDResponse"))


_RESPONSE: Final = _response()
