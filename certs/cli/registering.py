"""`smsgw ca entries|token`: who is registered, and how a node joins."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from certs.ca.authority import Authority
from certs.ca.registration import WorkloadEntry, read_registration
from certs.ca.tokens import new_token
from certs.cli.manners import FILE, DurationType, SpiffeIdType, dir_option, json_option, now, reporting, tell
from certs.spiffe_id import SpiffeId


@click.command()
@dir_option
@click.option("--file", "path", type=FILE, required=True, help="The YAML file of nodes and entries.")
@json_option
@reporting
def entries(directory: Path, path: Path, as_json: bool) -> None:
    """Check a file of nodes and workloads, and list what it registers. A mistake is told with file, line and key.

    \b
    The file:
      nodes:
        - spiffe_id: spiffe://example.org/node/web1
      entries:
        - spiffe_id: spiffe://example.org/billing
          node: spiffe://example.org/node/web1      # or a list
          unix: {uid: 1001, gid: 1001, path: /usr/bin/billing, sha256: 9f86d0...}   # uid is needed; all must hold
          ttl: 1h                                   # 5m to 24h
          dns: billing.example.org                  # servers only
          hint: internal                            # for workloads with several identities; the first is the default
          federates_with: [partner.example]         # other trust domains whose bundles it is given
      federation:                                   # and where those are; see docs/federation.md
        - trust_domain: partner.example
          url: https://bundles.partner.example/bundle.json

    \b
    Example:
      smsgw ca entries --dir ca --file entries.yaml
    """
    with contextlib.closing(Authority.open(directory, damaged=True)) as authority:
        found = read_registration(path, authority.trust_domain)
    lines = [f"node      {spiffe_id}" for spiffe_id in found.nodes]
    lines += [f"workload  {entry.request.spiffe_id} at {len(entry.nodes)} node(s)" for entry in found.entries]
    lines += [f"federated {member.endpoint.trust_domain} by {member.endpoint.location}" for member in found.federation]
    tell(
        as_json,
        "\n".join(lines) or "nothing is registered",
        nodes=[str(spiffe_id) for spiffe_id in found.nodes],
        entries=[_described(entry) for entry in found.entries],
        federation=[
            {"trust_domain": member.endpoint.trust_domain.name, "url": str(member.endpoint.location)}
            for member in found.federation
        ],
    )


def _described(entry: WorkloadEntry) -> dict[str, object]:
    found = entry.selectors
    return {
        "spiffe_id": str(entry.request.spiffe_id),
        "nodes": sorted(str(node) for node in entry.nodes),
        "unix": {"uid": found.uid, "gid": found.gid, "path": found.path, "sha256": found.sha256},
        "ttl_s": entry.request.ttl_s,
        "dns": list(entry.request.dns_names),
        "hint": entry.hint,
        "federates_with": [domain.name for domain in entry.federates_with],
    }


@click.command()
@dir_option
@click.option("--spiffe-id", type=SpiffeIdType(), required=True, help="The node's.")
@click.option("--ttl", type=DurationType(), default="10m", show_default=True, help="24h at most.")
@json_option
@reporting
def token(directory: Path, spiffe_id: SpiffeId, ttl: int, as_json: bool) -> None:
    """Make a token with which one host can become one node, once. The node must be registered when it joins.

    It is shown now and never again: only its hash is kept.

    \b
    Example:
      smsgw ca token --dir ca --spiffe-id spiffe://example.org/node/web1 > join.token
    """
    with contextlib.closing(Authority.open(directory, damaged=True)) as authority:
        made = new_token(authority.ledger, spiffe_id, ttl, now())
    tell(as_json, made, token=made, spiffe_id=str(spiffe_id), ttl_s=ttl)
