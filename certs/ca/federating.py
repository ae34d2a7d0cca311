"""The trust domains that workloads may federate with: the `federation` section of the registration, read strictly.

federation:
  - trust_domain: partner.example
    url: https://bundles.partner.example/bundle.json
    profile: https_spiffe                             # https_web when left out
    server_id: spiffe://partner.example/bundle-endpoint
    bootstrap_file: partner.json                      # beside this file
    ca_file: web-ca.pem                               # with https_web; the system's roots when left out
    refresh_min: 1m
    refresh_max: 1h
    max_age: 24h
    allow_networks: [10.20.0.0/16]
    allow_ports: [8443]
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from certs.ca.strict_yaml import mapping, number, place, sequence, text
from certs.ca.wanted import parse_duration
from certs.errors import AuthorityError, CertsError
from certs.federation.addresses import Network
from certs.federation.endpoint import Endpoint, Profile, parse_url
from certs.federation.federation import Member
from certs.federation.relationship import Terms
from certs.spiffe_id import SpiffeId, TrustDomain

MAX_MEMBERS: Final = 64
_KEYS: Final = (
    "trust_domain", "url", "profile", "server_id", "bootstrap_file", "ca_file", "refresh_min", "refresh_max", "max_age",
    "allow_networks", "allow_ports",
)  # fmt: skip
_MAX_LISTED: Final = 16


def read_members(path: Path, node: yaml.Node | None, own: TrustDomain) -> tuple[Member, ...]:
    """Return the trust domains in a section. Raises AuthorityError with file, line and what is wrong."""
    found: dict[TrustDomain, Member] = {}
    nodes = sequence(path, node, "federation", MAX_MEMBERS)
    for item in nodes:
        fields = mapping(path, item, _KEYS, ("trust_domain", "url"))
        try:
            member = _member(path, fields)
        except CertsError as refused:
            if str(refused).startswith(str(path)):
                raise
            raise AuthorityError(f"{place(path, item)}: {refused}", reason=refused.reason) from refused
        domain = member.endpoint.trust_domain
        if domain == own:
            raise AuthorityError(f"{place(path, item)}: {own} is this trust domain itself")
        if found.setdefault(domain, member) is not member:
            raise AuthorityError(f"{place(path, item)}: {domain} stands before this line already")
    for item, member in zip(nodes, found.values(), strict=True):
        _check_server(path, item, member, {*found, own})
    return tuple(found.values())


def _member(path: Path, fields: Mapping[str, yaml.Node]) -> Member:
    ports = [number(path, port, "allow_ports", 65_535) for port in _list(path, fields, "allow_ports")]
    server_id = _text(path, fields, "server_id")
    profile = _text(path, fields, "profile") or Profile.WEB.value
    if profile not in set(Profile):
        raise AuthorityError(f"{place(path, fields['profile'])}: `profile` is {' or '.join(Profile)}")
    return Member(
        endpoint=Endpoint(
            trust_domain=TrustDomain(text(path, fields["trust_domain"], "trust_domain")),
            location=parse_url(text(path, fields["url"], "url"), ports),
            profile=Profile(profile),
            server_id=SpiffeId.parse(server_id) if server_id else None,
            ca_file=_file(path, fields, "ca_file"),
            networks=tuple(_network(path, item) for item in _list(path, fields, "allow_networks")),
        ),
        terms=_terms(path, fields),
        bootstrap_file=_file(path, fields, "bootstrap_file"),
    )


def _terms(path: Path, fields: Mapping[str, yaml.Node]) -> Terms:
    given = {
        f"{name}_s": float(parse_duration(text(path, fields[name], name)))
        for name in ("refresh_min", "refresh_max", "max_age")
        if name in fields
    }
    terms = Terms(**given)
    if not 1 <= terms.refresh_min_s <= terms.refresh_max_s < terms.max_age_s:
        first = next(fields[name] for name in ("refresh_min", "refresh_max", "max_age") if name in fields)
        raise AuthorityError(f"{place(path, first)}: refresh_min, refresh_max and max_age have to be in that order")
    return terms


def _check_server(path: Path, node: yaml.Node, member: Member, known: set[TrustDomain]) -> None:
    """Refuse an endpoint that could never prove who it is."""
    server_id = member.endpoint.server_id
    if server_id is None:
        return
    if server_id.trust_domain == member.endpoint.trust_domain:
        if member.bootstrap_file is None:
            raise AuthorityError(f"{place(path, node)}: https_spiffe needs a bundle to begin with: bootstrap_file")
    elif server_id.trust_domain not in known:
        raise AuthorityError(f"{place(path, node)}: there is no bundle of {server_id.trust_domain} to verify it with")


def _network(path: Path, node: yaml.Node) -> Network:
    try:
        found = ipaddress.ip_network(text(path, node, "allow_networks"))
    except ValueError as refused:
        raise AuthorityError(f"{place(path, node)}: `allow_networks`: {ascii(str(refused))[1:-1]}") from refused
    if not found.prefixlen:
        raise AuthorityError(f"{place(path, node)}: `allow_networks` would allow every address")
    return found


def _list(path: Path, fields: Mapping[str, yaml.Node], name: str) -> list[yaml.Node]:
    return sequence(path, fields.get(name), name, _MAX_LISTED)


def _text(path: Path, fields: Mapping[str, yaml.Node], name: str) -> str:
    return text(path, fields[name], name) if name in fields else ""


def _file(path: Path, fields: Mapping[str, yaml.Node], name: str) -> Path | None:
    return path.parent / text(path, fields[name], name) if name in fields else None
