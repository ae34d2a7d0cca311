"""The settings of the node's own identity, and of the trust domains that it believes."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from certs.errors import BadEndpoint
from certs.workload.endpoint import ENVIRONMENT, Endpoint
from gateway.config.definitions import setting
from gateway.config.federation_settings import FederationSettings, federation_findings
from gateway.config.kinds import SPIFFE_ID, TRUST_DOMAIN, Duration, FileName, Items, Section, Table, Text

HINT = Text(meaning="a hint, as the Workload API gives it", low=1, high=255)
FROM_ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class WorkloadEndpoint:
    """The address of a Workload API, or the word that leaves it to the environment."""

    quotable: bool = True

    def read(self, text: str) -> str:
        """Return the text."""
        if text != FROM_ENVIRONMENT:
            try:
                Endpoint.parse(text)
            except BadEndpoint as refused:
                raise ValueError(f"wants {self.describe()}: {refused}") from None
        return text

    def show(self, value: object) -> str:
        """Return the text."""
        return str(value)

    def describe(self) -> str:
        """Return what may stand there."""
        return f"unix:///PATH, tcp://IP:PORT on loopback, or {FROM_ENVIRONMENT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadApiSettings:
    """The SPIFFE Workload API that gives the node its identity. See docs/workload-identity.md."""

    endpoint: str = setting(
        WorkloadEndpoint(),
        doc=f"Where it is. {FROM_ENVIRONMENT}: what {ENVIRONMENT} says.",
        example="unix:///run/spire/agent-sockets/api.sock",
    )
    spiffe_id: str | None = setting(
        SPIFFE_ID,
        optional=True,
        doc="Which identity is the node's, where it gets several. Left out: the first one of node.trust_domain.",
        example="spiffe://{TRUST_DOMAIN}/gateway",
    )
    hint: str | None = setting(
        HINT, optional=True, doc="The same, by the hint that was registered with it.", example="gateway"
    )
    federated: tuple[str, ...] = setting(
        Items(TRUST_DOMAIN, high=64),
        doc="Other trust domains whose bundles are taken from the Workload API. It may deliver more: those of domains "
        "that are not named here are not believed.",
    )
    wait_s: float = setting(
        Duration(low="1s", high="1h"),
        default="1m",
        doc="How long a node that starts waits for its first SVID before it gives up.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySettings:
    """Who the node is, and whom it believes."""

    workload_api: WorkloadApiSettings | None = setting(
        Section(WorkloadApiSettings, optional=True),
        doc="Takes the node's SVID, and the bundle of its trust domain, from a SPIFFE Workload API, such as that of "
        "SPIRE or `smsgw agent`, instead of from files; api.svid_file and api.svid_key_file are then not read.",
    )
    bundles: Mapping[str, Path] = setting(
        Table(key=TRUST_DOMAIN, value=FileName(), high=64),
        doc="The trust bundle (root certificates, PEM) of each trust domain whose SVIDs are accepted. A certificate is "
        "checked against the bundle of its own trust domain only. With workload_api: of other trust domains only.",
        example="{TRUST_DOMAIN}: pki/bundle.pem",
    )

    federation: tuple[FederationSettings, ...] = setting(
        Items(Section(FederationSettings), high=64),
        doc="Other trust domains whose bundles are fetched from their bundle endpoints, see docs/federation.md. Each "
        "trust domain has its bundle from one place.",
    )

    def domains(self, own: str) -> frozenset[str]:
        """Return the trust domains that have a bundle; `own` is that of the node."""
        return self._not_fetched(own) | {entry.trust_domain for entry in self.federation}

    def federation_findings(self, own: str) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with `federation`, with the key below `identity`."""
        yield from federation_findings(self.federation, own, self._not_fetched(own).__contains__)

    def _not_fetched(self, own: str) -> frozenset[str]:
        api = self.workload_api
        return frozenset(self.bundles) | (frozenset() if api is None else {own, *api.federated})
