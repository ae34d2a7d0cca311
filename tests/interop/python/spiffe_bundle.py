"""Reads a bundle with PyPI's `spiffe`: argv is a trust domain, standard input its JWK Set. Prints one JSON object.

That package knows bundles of one kind, as a Workload API delivers them; so each kind of keys is handed over alone.
"""

from __future__ import annotations

import base64
import json
import sys

from spiffe import JwtBundle, TrustDomain, X509Bundle


def main(name: str, document: bytes) -> None:
    """Run."""
    domain, keys = TrustDomain(name), json.loads(document)["keys"]
    der = [base64.b64decode(key["x5c"][0]) for key in keys if key["use"] == "x509-svid"]
    jwt = json.dumps({"keys": [key for key in keys if key["use"] == "jwt-svid"]}).encode()
    found = {
        "jwt": sorted(JwtBundle.parse(domain, jwt).jwt_authorities),
        "x509": len(X509Bundle.parse_raw(domain, b"".join(der)).x509_authorities),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.stdin.buffer.read())
