"""A node in this process that federates with another trust domain, and that domain's endpoint."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from certs.federation.answering import Page
from certs.federation.serving import BundleServer, server_context
from certs.svid import X509Svid
from gateway.audit.codec import decode, split
from gateway.audit.records import Record
from gateway.node import Node
from gateway.policy.default_set import default_files
from tests.certificates import IssuedSvid, TestAuthority
from tests.gateway.site import NAME, write_keys

PARTNER = "partner.example"
WEB = TestAuthority("web.example")


def loaded(issued: IssuedSvid) -> X509Svid:
    """Return an issued SVID as the product holds it."""
    return X509Svid.from_pem(issued.presented_pem, issued.key_pem)


def write_site(folder: Path, own: TestAuthority, port: int, **federation: Any) -> Path:
    """Write what a node of example.org needs that federates with partner.example at `port`; the path of smsgw.yaml.

    `federation` changes that entry; None takes a key out.
    """
    write_keys(folder)
    policy = folder / "policy"
    policy.mkdir(mode=0o700, exist_ok=True)
    for name, octets in default_files().items():
        (policy / name).touch(mode=0o600)
        (policy / name).write_bytes(octets)
    own.svid("/gateway", dns=(NAME,)).write(folder, "gateway")
    (folder / "bundle.pem").write_bytes(own.bundle_pem)
    (folder / "web.pem").write_bytes(WEB.bundle_pem)
    entry = {
        "trust_domain": PARTNER,
        "url": f"https://localhost:{port}/bundle.json",
        "ca_file": "web.pem",
        "refresh_min": "1s",
        "refresh_max": "1s",
        "max_age": "1h",
        "allow_networks": ["127.0.0.0/8"],
        "allow_ports": [port],
        **federation,
    }
    document = {
        "node": {"name": "node-1", "trust_domain": "example.org", "data_dir": "data"},
        "api": {
            "listen": "127.0.0.1:0",
            "drain_linger": "0s",
            "svid_file": "gateway.pem",
            "svid_key_file": "gateway.key",
        },
        "identity": {
            "bundles": {"example.org": "bundle.pem"},
            "federation": [{key: value for key, value in entry.items() if value is not None}],
        },
        "tenants": [{"name": "demo", "spiffe_ids": ["spiffe://example.org/demo", f"spiffe://{PARTNER}/demo"]}],
        "store": {"index_key_file": "index.key"},
        "keys": {"kek_file": "kek.key"},
        "revocation": {"signing_key_file": "deny-list.key"},
        "telemetry": {"metrics": {"listen": "127.0.0.1:0", "insecure": True}},
        "limits": {"messages_per_recipient_burst": 100_000, "calls_burst": 100_000},
    }
    path = folder / "smsgw.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@contextmanager
def endpoint(document: bytes, port: int = 0) -> Iterator[tuple[BundleServer, int]]:
    """Serve a bundle by https_web as localhost; gives the server, whose page may be exchanged, and its port."""
    issued = WEB.svid("/web", uris=(), dns=("localhost",))
    context = server_context(issued.presented_pem, issued.key_pem)
    server = BundleServer(Page(path="/bundle.json", document=document), context, lambda: dt.datetime.now(dt.UTC))
    try:
        yield server, server.start(f"127.0.0.1:{port}")
    finally:
        server.stop()


async def records(node: Node) -> list[Record]:
    """Return everything in the audit."""
    commits = await node.store.audit_read(0, 10_000)
    return [decode(octets) for commit in commits for octets in split(commit.records)]
