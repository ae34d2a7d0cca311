"""The settings of trust domains to federate with. See docs/federation.md."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from certs.errors import CertsError, EndpointRefused
from certs.federation.addresses import Network
from certs.federation.endpoint import Endpoint, Profile, parse_url
from certs.federation.federation import Member
from certs.federation.relationship import Terms
from certs.spiffe_id import SpiffeId, TrustDomain
from gateway.config.definitions import setting
from gateway.config.kinds import SPIFFE_ID, TRUST_DOMAIN, Choice, Duration, FileName, Integer, Items, clip

_ANY_PORT = range(1, 65_536)


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleUrl:
    """The URL of a bundle endpoint."""

    quotable: bool = True

    def read(self, text: str) -> str:
        """Return the text; its port is judged with `allow_ports`."""
        try:
            parse_url(text, _ANY_PORT)
        except EndpointRefused as refused:
            raise ValueError(f"{clip(text)} {refused}") from None
        return text

    def show(self, value: object) -> str:
        """Return the text."""
        return str(value)

    def describe(self) -> str:
        """Return what is wanted."""
        return "https URL, without user and fragment"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkKind:
    """A network, as `10.0.0.0/8` or `fd00::/8`."""

    quotable: bool = True

    def read(self, text: str) -> Network:
        """Return the network; the whole internet is none."""
        try:
            found = ipaddress.ip_network(text)
        except ValueError:
            raise ValueError(f"wants {self.describe()}; {clip(text)} is not") from None
        if not found.prefixlen:
            raise ValueError("would allow every address: name the networks that are meant")
        return found

    def show(self, value: object) -> str:
        """Return the network, in quotes where YAML would see a mapping."""
        return f'"{value}"' if ":" in str(value) else str(value)

    def describe(self) -> str:
        """Return what is wanted."""
        return "a network, as 10.0.0.0/8 or fd00::/8"


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationSettings:
    """A trust domain whose bundle is fetched from its bundle endpoint."""

    trust_domain: str = setting(TRUST_DOMAIN, doc="Whose bundle it is.", example="partner.example")
    url: str = setting(
        BundleUrl(),
        doc="Where its bundle is. Redirects are not followed.",
        example="https://bundles.partner.example/bundle.json",
    )
    profile: Profile = setting(
        Choice(Profile),
        default="https_web",
        doc="How the endpoint proves who it is: https_web by a certificate of the web for its host name, https_spiffe "
        "by an SVID of server_id.",
    )
    server_id: str | None = setting(
        SPIFFE_ID,
        optional=True,
        doc="The SPIFFE ID of the endpoint, with https_spiffe.",
        example="spiffe://partner.example/bundle-endpoint",
    )
    bootstrap_file: Path | None = setting(
        FileName(),
        optional=True,
        doc="The bundle to begin with, PEM or SPIFFE JSON, had from the operator of that trust domain. It counts until "
        "the first fetch; a changed file counts anew, whatever was fetched before. https_spiffe needs one.",
        example="pki/partner.json",
    )
    ca_file: Path | None = setting(
        FileName(),
        optional=True,
        doc="Root certificates for https_web, PEM. Left out: the system's.",
        example="pki/web-ca.pem",
    )
    refresh_min_s: float = setting(
        Duration(low="1s", high="1h"),
        default="1m",
        doc="The shortest time between two fetches, whatever the bundle hints.",
    )
    refresh_max_s: float = setting(
        Duration(low="1s", high="1d"),
        default="1h",
        doc="The longest. A revoked authority may be believed for as long. Without a hint it is 5m, within both.",
    )
    max_age_s: float = setting(
        Duration(low="2s", high="30d"),
        default="1d",
        doc="How old a bundle may become when fetches fail. Beyond it nobody of that trust domain is believed.",
    )
    timeout_s: float = setting(
        Duration(low="1s", high="1m"), default="10s", doc="How long a fetch may take as a whole."
    )
    allow_networks: tuple[Network, ...] = setting(
        Items(NetworkKind(), high=16),
        doc="Networks in which the endpoint may be although they are not public. Left out: none, so that nobody's DNS "
        "can send the node to addresses inside.",
    )
    allow_ports: tuple[int, ...] = setting(
        Items(Integer(low=1, high=65_535), high=8), doc="Ports that the URL may have, beside 443."
    )

    def member(self) -> Member:
        """Return what `certs.federation` makes of it. Raises EndpointRefused for settings that do not fit together."""
        return Member(
            endpoint=Endpoint(
                trust_domain=TrustDomain(self.trust_domain),
                location=parse_url(self.url, self.allow_ports),
                profile=self.profile,
                server_id=None if self.server_id is None else SpiffeId.parse(self.server_id),
                ca_file=self.ca_file,
                networks=self.allow_networks,
                timeout_s=self.timeout_s,
            ),
            terms=Terms(refresh_min_s=self.refresh_min_s, refresh_max_s=self.refresh_max_s, max_age_s=self.max_age_s),
            bootstrap_file=self.bootstrap_file,
        )


def federation_findings(
    entries: Sequence[FederationSettings], own: str, elsewhere: Callable[[str], bool]
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong between settings, with the key below `identity`.

    Args:
        entries: all of them.
        own: the node's trust domain.
        elsewhere: says whether the bundle of a trust domain comes from somewhere else.
    """
    names = [entry.trust_domain for entry in entries]
    for at, entry in enumerate(entries):
        where, domain = f"federation[{at}]", entry.trust_domain
        if domain == own:
            yield f"{where}.trust_domain", "is this node's own: its bundle does not come from an endpoint"
        elif domain in names[:at]:
            yield f"{where}.trust_domain", f"{domain} stands here a second time"
        elif elsewhere(domain):
            yield f"{where}.trust_domain", f"{domain} has its bundle from elsewhere too: leave one of the two out"
        if entry.refresh_max_s < entry.refresh_min_s:
            yield f"{where}.refresh_max", "is shorter than refresh_min"
        if entry.max_age_s <= entry.refresh_max_s:
            yield f"{where}.max_age", "has to be longer than refresh_max: bundles would end between two fetches"
        yield from _endpoint(entry, where, names, elsewhere)


def _endpoint(
    entry: FederationSettings, where: str, names: Sequence[str], elsewhere: Callable[[str], bool]
) -> Iterator[tuple[str, str]]:
    try:
        endpoint = entry.member().endpoint
    except CertsError as refused:
        yield where, str(refused)
        return
    if endpoint.server_id is None:
        return
    server = endpoint.server_id.trust_domain.name
    if server == entry.trust_domain:
        if entry.bootstrap_file is None:
            yield where, "https_spiffe needs a bundle to begin with: name it in bootstrap_file"
    elif server not in names and not elsewhere(server):
        yield f"{where}.server_id", f"there is no bundle of {server} to verify it with"
