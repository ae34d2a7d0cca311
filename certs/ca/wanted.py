"""The list of SVIDs that `smsgw ca serve` keeps fresh: a YAML file, read strictly.

    - spiffe_id: spiffe://example.org/gateway
      dns: gateway.example.org        # servers only
      ttl: 1h                         # 5m to 24h; 1h when left out
      out: gateway/tls                # writes gateway/tls.pem and gateway/tls.key, beside this file unless absolute

An unknown key, a value of the wrong kind or the same `out` twice is refused with file, line and key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from certs.ca.profile import DEFAULT_TTL_S, LeafRequest, check_request
from certs.ca.strict_yaml import compose, mapping, place, text
from certs.errors import AuthorityError, CertsError, ProfileRefused
from certs.spiffe_id import SpiffeId, TrustDomain

MAX_FILE_BYTES = 1024 * 1024
MAX_WANTED = 1000
_KEYS = ("spiffe_id", "dns", "ttl", "out")
_DURATION = re.compile(r"([0-9]{1,6})(s|m|h|d)", re.ASCII)
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSvid:
    """One SVID to keep fresh, in `cert_path` and `key_path`."""

    request: LeafRequest
    cert_path: Path
    key_path: Path


def parse_duration(text: str) -> int:
    """Return seconds for a text such as 90s, 30m, 1h or 90d. Raises ProfileRefused."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise ProfileRefused(f"{text[:20]!a} is no duration: write a whole number and s, m, h or d, such as 30m")
    return int(found[1]) * _UNIT_S[found[2]]


def out_paths(out: Path) -> tuple[Path, Path]:
    """Return the certificate's and the key's path for `--out DIR/NAME`."""
    return out.with_name(out.name + ".pem"), out.with_name(out.name + ".key")


def read_wanted(path: Path, trust_domain: TrustDomain) -> tuple[WantedSvid, ...]:
    """Return the SVIDs that the file asks for. Raises AuthorityError with file, line and key; SvidFileError."""
    root = compose(path, MAX_FILE_BYTES)
    if not isinstance(root, yaml.SequenceNode) or not root.value:
        raise AuthorityError(f"{path}: a list of SVIDs was expected; see `smsgw ca serve --help`")
    if len(root.value) > MAX_WANTED:
        raise AuthorityError(f"{path}: {len(root.value)} SVIDs; at most {MAX_WANTED} are kept by one process")
    wanted = tuple(_entry(path, node, trust_domain) for node in root.value)
    seen: set[Path] = set()
    for node, entry in zip(root.value, wanted, strict=True):
        if entry.cert_path in seen:
            raise AuthorityError(f"{place(path, node)}: `out` names {entry.cert_path}, as an entry before it does")
        seen.add(entry.cert_path)
    return wanted


def _entry(path: Path, node: yaml.Node, trust_domain: TrustDomain) -> WantedSvid:
    fields = _fields(path, node)
    try:
        request = LeafRequest(
            spiffe_id=SpiffeId.parse(fields["spiffe_id"]),
            dns_names=(fields["dns"],) if "dns" in fields else (),
            ttl_s=parse_duration(fields["ttl"]) if "ttl" in fields else DEFAULT_TTL_S,
        )
        check_request(request, trust_domain)
    except CertsError as refused:
        raise AuthorityError(f"{place(path, node)}: {refused}", reason=refused.reason) from refused
    cert_path, key_path = out_paths(path.parent / fields["out"])
    return WantedSvid(request=request, cert_path=cert_path, key_path=key_path)


def _fields(path: Path, node: yaml.Node) -> dict[str, str]:
    """Return the scalars of one entry by key, all of them text."""
    return {name: text(path, value, name) for name, value in mapping(path, node, _KEYS, ("spiffe_id", "out")).items()}
