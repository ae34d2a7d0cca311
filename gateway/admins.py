"""Who operates the node, which other nodes call it, and who sends messages: three sorts of identities that never mix.

An identity at or below one of the operators' prefixes (`admin.spiffe_ids`, by whole path segments) belongs to no
tenant, even where a tenant's prefix covers it: it is refused where messages are sent, as every other one is refused on
the administrative address. So does another node of the site (`revocation.followers`), which has an identity of just
that name. The functions here are what `gateway.identity.CallerResolver` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from certs.spiffe_id import SpiffeId
from gateway.errors import PermissionDenied

NO_TENANT_NAME = ""  # stands for the tenant of a caller that operates the node
PEER_NAME = "@node"  # and this one for that of another node; no tenant can have such a name


class Admins:
    """The prefixes of those who operate the node, and the identities of other nodes."""

    def __init__(self, prefixes: Sequence[str], peers: Sequence[str] = ()) -> None:
        """`prefixes` are SPIFFE IDs: each covers itself and what lies below it; `peers` cover nothing but themselves.

        Raises BadSpiffeId.
        """
        self._peers = frozenset(str(SpiffeId.parse(peer)) for peer in peers)
        parsed = [SpiffeId.parse(prefix) for prefix in prefixes]
        self._prefixes = tuple((prefix.trust_domain.name, prefix.path) for prefix in parsed)

    def covers(self, spiffe_id: SpiffeId) -> bool:
        """Say whether an identity operates the node."""
        domain, path = spiffe_id.trust_domain.name, spiffe_id.path
        return any(
            domain == prefix_domain and (path == prefix or path.startswith(prefix + "/"))
            for prefix_domain, prefix in self._prefixes
        )

    def operators_only(self, spiffe_id: SpiffeId) -> str:
        """Return `NO_TENANT_NAME` for who operates the node, `PEER_NAME` for another node; what each may do is a matter
        of policies. Raises PermissionDenied (NOT_AN_OPERATOR)."""
        if self.covers(spiffe_id):
            return NO_TENANT_NAME
        if str(spiffe_id) in self._peers:
            return PEER_NAME
        raise PermissionDenied(
            f"{spiffe_id} does not operate this node: only identities that admin.spiffe_ids names may call here",
            reason="NOT_AN_OPERATOR",
            metadata={"spiffe_id": str(spiffe_id)},
        )

    def tenants_only(self, tenant_of: Callable[[SpiffeId], str | None]) -> Callable[[SpiffeId], str | None]:
        """Return `tenant_of` for all but those who operate the node, and other nodes: for them it raises
        PermissionDenied (OPERATOR_IDENTITY, NODE_IDENTITY)."""

        def found(spiffe_id: SpiffeId) -> str | None:
            if str(spiffe_id) in self._peers:
                raise PermissionDenied(
                    f"{spiffe_id} is a node of the site, and sends no messages: use an identity of a tenant",
                    reason="NODE_IDENTITY",
                    metadata={"spiffe_id": str(spiffe_id)},
                )
            if self.covers(spiffe_id):
                raise PermissionDenied(
                    f"{spiffe_id} operates this node, and sends no messages: use an identity of a tenant",
                    reason="OPERATOR_IDENTITY",
                    metadata={"spiffe_id": str(spiffe_id)},
                )
            return tenant_of(spiffe_id)

        return found
