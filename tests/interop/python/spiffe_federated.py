"""A workload that uses PyPI's `spiffe`: prints the bundles that it is given, of its own trust domain and of others."""

from __future__ import annotations

import json
import sys

from spiffe import TrustDomain, WorkloadApiClient


def main(address: str, *names: str) -> None:
    """Run."""
    client = WorkloadApiClient(address)
    context = client.fetch_x509_context(timeout=30)
    x509, jwt = client.fetch_x509_bundles(timeout=30), client.fetch_jwt_bundles(timeout=30)
    found = {}
    for name in names:
        domain = TrustDomain(name)
        in_context = context.x509_bundle_set.get_bundle_for_trust_domain(domain)
        alone, keys = x509.get_bundle_for_trust_domain(domain), jwt.get_bundle_for_trust_domain(domain)
        found[name] = [
            0 if in_context is None else len(in_context.x509_authorities),
            0 if alone is None else len(alone.x509_authorities),
            None if keys is None else sorted(keys.jwt_authorities),
        ]
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
