"""The settings of the deny list: who signs it, who follows it, and how old it may become."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.config.definitions import setting
from gateway.config.kinds import SPIFFE_ID, Address, Duration, FileName, HostPort, Items, Section, Text
from gateway.config.secret_kinds import SecretFile

_DOMAIN = Text(
    meaning="a SPIFFE trust domain, in lower case", pattern=r"[a-z0-9._-]+", low=1, high=255
)  # SPIFFE-ID §2.1


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerSettings:
    """How the authorities of a trust domain date what they issue."""

    trust_domain: str = setting(_DOMAIN, doc="The trust domain.", example="example.org")
    backdating_s: float = setting(
        Duration(low="0s", high="1h"),
        default="0s",
        doc="How far back certificates are dated, at least: SPIRE 10s, `smsgw ca` 30s. A revoked identity that gets a "
        "new certificate is let in again when its start, plus this, is after the revocation. Too little keeps a new "
        "certificate out for as long as it is dated back; too much lets in one that was issued just before.",
    )
    longest_svid_s: float | None = setting(
        Duration(low="1m", high="398d"),
        optional=True,
        doc="How long certificates live at most. When the ones before a revocation have all ended, its entry leaves "
        "the list. Left out: it stays until it is taken back.",
        example="24h",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationSettings:
    """The deny list. One node of a site signs it, the others follow. See docs/revocation.md."""

    signing_key_file: Path = setting(
        SecretFile(),
        default="keys/deny-list.key",
        doc="The Ed25519 key (PEM) that signs the deny list; a node that follows another one needs none. Nobody else "
        "may read it. It is no key of an authority.",
    )
    followers: tuple[str, ...] = setting(
        Items(SPIFFE_ID, high=100),
        doc="The SPIFFE IDs of the other nodes of the site, which may fetch the list on the administrative address: "
        "just these, none below. They may do nothing else there.",
    )
    publisher: Address | None = setting(
        HostPort(),
        optional=True,
        doc="Follow the node that has this administrative address, instead of signing.",
        example="gateway-1.example.org:7444",
    )
    publisher_id: str | None = setting(
        SPIFFE_ID,
        optional=True,
        doc="The SPIFFE ID of that node, which it has to prove.",
        example="spiffe://{TRUST_DOMAIN}/gateway",
    )
    public_key_files: tuple[Path, ...] = setting(
        Items(FileName(), high=4),
        doc="The public keys (PEM) that the list may be signed by: the publisher's keys/deny-list.pub, and while that "
        "is being replaced the next one as well. At the publisher: keys that were in use before.",
    )
    max_age_s: float = setting(
        Duration(low="2s", high="1h"),
        default="60s",
        doc="A node that follows refuses all calls when its list has not been signed anew for so long. At the "
        "publisher: how long a signature is good.",
    )
    heartbeat_s: float = setting(
        Duration(low="200ms", high="10m"),
        default="5s",
        doc="How often the publisher signs the list anew, and pushes that.",
    )
    poll_s: float = setting(
        Duration(low="200ms", high="10m"),
        default="15s",
        doc="A node that follows, and has been pushed nothing for so long, asks on a connection of its own.",
    )
    issuers: tuple[IssuerSettings, ...] = setting(
        Items(Section(IssuerSettings), high=64),
        doc="How certificates of a trust domain are dated, where `smsgw revoke` names an identity and not its "
        "certificates. At the publisher.",
    )

    def issuer(self, trust_domain: str) -> IssuerSettings | None:
        """Return how a trust domain's certificates are dated, None when nothing is said."""
        return next((each for each in self.issuers if each.trust_domain == trust_domain), None)
