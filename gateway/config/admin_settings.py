"""The settings of the administrative API: where operators call, and who they are."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

from dataclasses import dataclass

from gateway.config.definitions import setting
from gateway.config.kinds import SPIFFE_ID, Address, HostPort, Items


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSettings:
    """The administrative API, over mutual TLS with the certificate of the API. See docs/operating.md."""

    listen: Address | None = setting(
        HostPort(),
        optional=True,
        doc="Where operators call: `smsgw carrier` and the like. Left out: nowhere.",
        example="127.0.0.1:7444",
    )
    spiffe_ids: tuple[str, ...] = setting(
        Items(SPIFFE_ID, high=100),
        doc="Who operates this node: callers with one of these SPIFFE IDs, or an ID below one (whole path segments). "
        "They belong to no tenant, and cannot send messages. Left out: `/admin` of the node's trust domain, and below. "
        "What each of them may do is a matter of policies.",
    )

    def prefixes(self, trust_domain: str) -> tuple[str, ...]:
        """Return `spiffe_ids`, or what stands for them."""
        return self.spiffe_ids or (f"spiffe://{trust_domain}/admin",)
