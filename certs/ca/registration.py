"""Who may have which identity: a YAML file of nodes and of the workloads on them, read strictly.

    nodes:                                        # hosts: joined by a token, renewed by their own SVID
      - spiffe_id: spiffe://example.org/node/web1
    entries:                                      # workloads, issued through the agent on a node
      - spiffe_id: spiffe://example.org/billing
        node: spiffe://example.org/node/web1      # or a list of nodes
        unix: {uid: 1001, gid: 1001, path: /usr/bin/billing, sha256: 9f86d081...}   # uid is needed; all must hold
        ttl: 1h                                   # 5m to 24h; 1h when left out
        dns: billing.example.org                  # servers only
        hint: internal                            # for workloads that have several identities
        federates_with: [partner.example]         # other trust domains whose bundles it is given
    federation:                                   # where those bundles are; see `certs.ca.federating`
      - trust_domain: partner.example
        url: https://bundles.partner.example/bundle.json

The order counts: the first entry that fits a workload is its default identity. Whoever is taken out of the file is
issued no more, and what was issued ends by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from certs.ca.federating import MAX_MEMBERS, read_members
from certs.ca.profile import DEFAULT_TTL_S, LeafRequest, check_request
from certs.ca.strict_yaml import compose, mapping, number, place, sequence, text
from certs.ca.wanted import parse_duration
from certs.errors import AuthorityError, CertsError
from certs.federation.federation import Member
from certs.spiffe_id import SpiffeId, TrustDomain

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
MAX_ENTRIES: Final = 10_000
MAX_NODES_OF_ENTRY: Final = 1000
MAX_ID: Final = (1 << 32) - 2
_NODE_KEYS: Final = ("spiffe_id", "ttl", "dns")
_ENTRY_KEYS: Final = ("spiffe_id", "node", "unix", "ttl", "dns", "hint", "federates_with")
_UNIX_KEYS: Final = ("uid", "gid", "path", "sha256")
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HINT: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixSelectors:
    """What must hold of a process on a node. None: not looked at.

    Attributes:
        uid, gid: of the process when it connected.
        path: its executable, absolute, without symbolic links.
        sha256: of its executable, lower-case hexadecimal.
    """

    uid: int
    gid: int | None = None
    path: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadEntry:
    """A workload: what is issued, at which nodes, and to which processes."""

    request: LeafRequest
    nodes: frozenset[SpiffeId]
    selectors: UnixSelectors
    hint: str = ""
    federates_with: tuple[TrustDomain, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A file's content. `nodes` maps a node's SPIFFE ID to what it is issued; `federation` says where the bundles of
    other trust domains are."""

    nodes: Mapping[SpiffeId, LeafRequest]
    entries: tuple[WorkloadEntry, ...]
    federation: tuple[Member, ...] = ()

    def at(self, node: SpiffeId) -> tuple[WorkloadEntry, ...]:
        """Return the entries of a node, in the order of the file."""
        return tuple(entry for entry in self.entries if node in entry.nodes)


def read_registration(path: Path, trust_domain: TrustDomain) -> Registration:
    """Return what the file registers. Raises AuthorityError with file, line and key; SvidFileError."""
    root = compose(path, MAX_FILE_BYTES)
    if root is None:
        raise AuthorityError(f"{path}: `nodes` and `entries` were expected; see `smsgw ca entries --help`")
    sections = mapping(path, root, ("nodes", "entries", "federation"))
    nodes: dict[SpiffeId, LeafRequest] = {}
    for node in sequence(path, sections.get("nodes"), "nodes", MAX_ENTRIES):
        request = _request(path, node, mapping(path, node, _NODE_KEYS, ("spiffe_id",)), trust_domain)
        if nodes.setdefault(request.spiffe_id, request) is not request:
            raise AuthorityError(f"{place(path, node)}: the node {request.spiffe_id} is registered before this line")
    federation = read_members(path, sections.get("federation"), trust_domain)
    entries: list[WorkloadEntry] = []
    seen: set[tuple[SpiffeId, SpiffeId]] = set()
    for item in sequence(path, sections.get("entries"), "entries", MAX_ENTRIES):
        entry = _entry(path, item, trust_domain)
        _check_nodes(path, item, entry, nodes, seen)
        _check_federation(path, item, entry, federation)
        entries.append(entry)
    return Registration(nodes=nodes, entries=tuple(entries), federation=federation)


def _request(path: Path, node: yaml.Node, fields: Mapping[str, yaml.Node], trust_domain: TrustDomain) -> LeafRequest:
    """Return what is to be issued. Raises AuthorityError with file and line."""
    try:
        request = LeafRequest(
            spiffe_id=SpiffeId.parse(text(path, fields["spiffe_id"], "spiffe_id")),
            dns_names=(text(path, fields["dns"], "dns"),) if "dns" in fields else (),
            ttl_s=parse_duration(text(path, fields["ttl"], "ttl")) if "ttl" in fields else DEFAULT_TTL_S,
        )
        check_request(request, trust_domain)
    except AuthorityError as refused:
        known = str(refused).startswith(str(path))
        raise AuthorityError(str(refused) if known else f"{place(path, node)}: {refused}", reason=refused.reason) from (
            refused
        )
    except CertsError as refused:
        raise AuthorityError(f"{place(path, node)}: {refused}", reason=refused.reason) from refused
    return request


def _entry(path: Path, node: yaml.Node, trust_domain: TrustDomain) -> WorkloadEntry:
    fields = mapping(path, node, _ENTRY_KEYS, ("spiffe_id", "node", "unix"))
    request = _request(path, node, fields, trust_domain)
    hint = text(path, fields["hint"], "hint") if "hint" in fields else ""
    if hint and not _HINT.fullmatch(hint):
        raise AuthorityError(f"{place(path, fields['hint'])}: `hint` has 1 to 64 letters, digits, '.', '_' and '-'")
    return WorkloadEntry(
        request=request,
        nodes=_nodes(path, fields["node"]),
        selectors=_selectors(path, fields["unix"]),
        hint=hint,
        federates_with=_federates_with(path, fields.get("federates_with")),
    )


def _federates_with(path: Path, node: yaml.Node | None) -> tuple[TrustDomain, ...]:
    items = sequence(path, node, "federates_with", MAX_MEMBERS)
    try:
        return tuple(dict.fromkeys(TrustDomain(text(path, item, "federates_with")) for item in items))
    except CertsError as refused:
        if isinstance(refused, AuthorityError) or node is None:
            raise
        raise AuthorityError(f"{place(path, node)}: `federates_with`: {refused}", reason=refused.reason) from refused


def _check_federation(path: Path, node: yaml.Node, entry: WorkloadEntry, federation: Sequence[Member]) -> None:
    """Refuse a trust domain of which nobody fetches the bundle."""
    known = {member.endpoint.trust_domain for member in federation}
    for domain in entry.federates_with:
        if domain not in known:
            raise AuthorityError(f"{place(path, node)}: {domain} is not under `federation`")


def _nodes(path: Path, node: yaml.Node) -> frozenset[SpiffeId]:
    """Return the node, or the list of nodes, of an entry."""
    is_list = isinstance(node, yaml.SequenceNode)
    items = sequence(path, node, "node", MAX_NODES_OF_ENTRY) if is_list else [node]
    if not items:
        raise AuthorityError(f"{place(path, node)}: `node` names none")
    try:
        return frozenset(SpiffeId.parse(text(path, item, "node")) for item in items)
    except CertsError as refused:
        if isinstance(refused, AuthorityError):
            raise
        raise AuthorityError(f"{place(path, node)}: `node`: {refused}", reason=refused.reason) from refused


def _selectors(path: Path, node: yaml.Node) -> UnixSelectors:
    fields = mapping(path, node, _UNIX_KEYS, ("uid",))
    executable = text(path, fields["path"], "path") if "path" in fields else None
    if executable is not None and not (executable.startswith("/") and "\0" not in executable):
        raise AuthorityError(f"{place(path, fields['path'])}: `path` must be absolute")
    digest = text(path, fields["sha256"], "sha256") if "sha256" in fields else None
    if digest is not None and not _SHA256.fullmatch(digest):
        raise AuthorityError(f"{place(path, fields['sha256'])}: `sha256` must be 64 digits of 0-9 a-f")
    return UnixSelectors(
        uid=number(path, fields["uid"], "uid", MAX_ID),
        gid=number(path, fields["gid"], "gid", MAX_ID) if "gid" in fields else None,
        path=executable,
        sha256=digest,
    )


def _check_nodes(
    path: Path,
    node: yaml.Node,
    entry: WorkloadEntry,
    nodes: Mapping[SpiffeId, LeafRequest],
    seen: set[tuple[SpiffeId, SpiffeId]],
) -> None:
    """Refuse an entry at an unknown node, an identity twice at one node, and one that is a node's own."""
    if entry.request.spiffe_id in nodes:
        raise AuthorityError(f"{place(path, node)}: {entry.request.spiffe_id} is a node's: a workload needs its own")
    for name in sorted(entry.nodes):
        if name not in nodes:
            raise AuthorityError(f"{place(path, node)}: the node {name} is not under `nodes`")
        if (entry.request.spiffe_id, name) in seen:
            raise AuthorityError(
                f"{place(path, node)}: {entry.request.spiffe_id} is registered at {name} before this line"
            )
        seen.add((entry.request.spiffe_id, name))


class RegistrationFile:
    """A registration in a file that may change: looks at it when `refresh` is called, and only then."""

    def __init__(self, path: Path, trust_domain: TrustDomain) -> None:
        """Read the file. Raises AuthorityError, SvidFileError."""
        self._path, self._trust_domain = path, trust_domain
        self._stamp = self._look()
        self.registration = read_registration(path, trust_domain)
        self.refused = ""  # why the file cannot be used as it is now; "" while it can

    def refresh(self) -> bool:
        """Read the file again if it changed; says whether it did.

        Raises AuthorityError or SvidFileError, once for each change, when it cannot be used: the old one stays.
        """
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.registration = read_registration(self._path, self._trust_domain)
        except CertsError as refused:
            self.refused = str(refused)
            raise
        self.refused = ""
        return True

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size
