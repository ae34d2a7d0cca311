"""A workload that uses PyPI's `spiffe`: fetches, validates, and follows rotations of X.509- and JWT-SVIDs.

It runs in a process of its own, as that package brings a copy of the Workload API's messages. It prints one JSON object
for each step, and for each X.509 update that it is told of until its standard input ends.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from spiffe import JwtSvid, TrustDomain, WorkloadApiClient, X509Source
from spiffe.errors import PySpiffeError


def told(**fields: Any) -> None:
    """Print one object."""
    print(json.dumps(fields), flush=True)


def refusal(call: Any) -> str:
    """Return the text with which a call is refused."""
    try:
        call()
    except PySpiffeError as refused:
        return str(refused)
    return ""


def main(address: str) -> None:
    """Run."""
    client = WorkloadApiClient(address)
    told(
        svids=[str(svid.spiffe_id) for svid in client.fetch_x509_svids(timeout=30)],
        chain=len(client.fetch_x509_svid(timeout=30).cert_chain),
    )
    domain = TrustDomain("example.org")
    svid = client.fetch_jwt_svid({"api", "other"}, timeout=30)
    bundle = client.fetch_jwt_bundles(timeout=30).get_bundle_for_trust_domain(domain)
    told(
        jwt=str(JwtSvid.parse_and_validate(svid.token, bundle, {"api"}).spiffe_id),
        validated=str(client.validate_jwt_svid(svid.token, "other").spiffe_id),
        refused=refusal(lambda: client.validate_jwt_svid(svid.token, "somebody")),
    )
    with X509Source(socket_path=address, timeout_in_seconds=30) as source:

        def update() -> None:
            leaf, roots = source.svid, source.get_bundle_for_trust_domain(domain)
            told(serial=f"{leaf.leaf.serial_number:x}", roots=len(roots.x509_authorities))

        source.subscribe_for_updates(update)
        update()
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
