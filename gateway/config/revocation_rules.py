"""The rules between the settings of the deny list and others: pure functions over the document as it was read."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.config.schema import Document

Finding = tuple[str, str]


def revocation_findings(document: Document) -> Iterator[Finding]:
    """Yield what is wrong: (key, what it is and what to do)."""
    yield from _role(document)
    yield from _followers(document)
    revocation = document.revocation
    for key, every_s in (("heartbeat", revocation.heartbeat_s), ("poll", revocation.poll_s)):
        if 2 * every_s > revocation.max_age_s:
            yield f"revocation.{key}", "is more than half of max_age: one that is lost would stop the node"
    domains = [issuer.trust_domain for issuer in revocation.issuers]
    for at, domain in enumerate(domains):
        if domain in domains[:at]:
            yield f"revocation.issuers[{at}].trust_domain", f"{domain} stands here a second time"


def _role(document: Document) -> Iterator[Finding]:
    """A node signs, or follows with all that it needs for that."""
    revocation = document.revocation
    if revocation.publisher is None:
        if revocation.publisher_id is not None:
            yield "revocation.publisher_id", "names a publisher, and `publisher` does not say where it is"
        return
    if revocation.publisher.port == 0:
        yield "revocation.publisher", "wants the port of the publisher's administrative address"
    if not revocation.public_key_files:
        text = "is missing: the publisher's keys/deny-list.pub says by whom the list may be signed"
        yield "revocation.public_key_files", text
    if revocation.followers:
        yield "revocation.followers", "are those of a publisher, and this node follows another one itself"
    if revocation.publisher_id is None:
        yield "revocation.publisher_id", "is missing: the SPIFFE ID that the publisher has to prove"
        return
    domain = _domain(revocation.publisher_id)
    if domain not in document.identity.domains(document.node.trust_domain):
        yield "revocation.publisher_id", f"there is no bundle of {domain}: it could prove nothing (identity.bundles)"


def _followers(document: Document) -> Iterator[Finding]:
    """Nodes have a bundle, and are neither operators nor anybody's tenant."""
    revocation = document.revocation
    if revocation.followers and document.admin.listen is None:
        yield "revocation.followers", "fetch the list from admin.listen, which is left out"
    prefixes = document.admin.prefixes(document.node.trust_domain)
    for at, node in enumerate(revocation.followers):
        where = f"revocation.followers[{at}]"
        if _domain(node) not in document.identity.domains(document.node.trust_domain):
            yield where, f"there is no bundle of {_domain(node)}: it could not follow (identity.bundles)"
        if any(_below(node, prefix) for prefix in prefixes):
            yield where, f"{node} is one of those who operate the node (admin.spiffe_ids): a node operates nothing"
        for tenant in document.tenants:
            if node in tenant.spiffe_ids:
                yield where, f"{node} belongs to the tenant {tenant.name}: a node sends no messages"


def _below(spiffe_id: str, prefix: str) -> bool:
    return spiffe_id == prefix or spiffe_id.startswith(prefix + "/")


def _domain(spiffe_id: str) -> str:
    return spiffe_id.removeprefix("spiffe://").partition("/")[0]
