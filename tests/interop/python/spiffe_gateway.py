"""A workload that calls a gateway with the SVID that PyPI's `spiffe` fetched, at once and after each renewal.

It prints one JSON object for each call: the serial number of its SVID, and that of our own client of the same Workload
API, which is in this process too: both libraries register the same messages, and neither may mind the other.
"""

from __future__ import annotations

import json
import sys

import grpc
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe import TrustDomain, X509Source

from certs.workload.blocking import BlockingX509Source
from certs.workload.endpoint import Endpoint
from smsgw.v1 import message_pb2, message_service_pb2
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub


def send(source: X509Source, target: str, name: str) -> str:
    """Send one message over a new connection; its id."""
    svid = source.svid
    roots = source.get_bundle_for_trust_domain(TrustDomain("example.org")).x509_authorities
    credentials = grpc.ssl_channel_credentials(
        b"".join(root.public_bytes(Encoding.PEM) for root in roots),
        svid.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        b"".join(certificate.public_bytes(Encoding.PEM) for certificate in svid.cert_chain),
    )
    message = message_pb2.OutboundMessage(
        recipient="+4915112345678",
        sender="ACME",
        category=message_pb2.CATEGORY_TRANSACTIONAL,
        content=message_pb2.Content(text="hello"),
    )
    request = message_service_pb2.SendMessageRequest(message=message)
    options = [("grpc.ssl_target_name_override", name), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(target, credentials, options) as channel:
        return str(MessageServiceStub(channel).SendMessage(request, timeout=30).accepted.message_id)


def main(address: str, target: str, name: str) -> None:
    """Run until standard input ends."""
    theirs, mine = X509Source(socket_path=address, timeout_in_seconds=30), BlockingX509Source(Endpoint.parse(address))
    with theirs as source, mine as ours:
        ours.ready(30)

        def call() -> None:
            found = {
                "message_id": send(source, target, name),
                "spiffe_id": str(source.svid.spiffe_id),
                "serial": f"{source.svid.leaf.serial_number:x}",
                "ours": ours.svid.serial,
            }
            print(json.dumps(found), flush=True)

        call()
        source.subscribe_for_updates(call)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
