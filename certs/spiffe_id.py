"""SPIFFE IDs, read strictly (SPIFFE-ID §2): one identity has exactly one text.

This module owns the grammar and nothing else. gRPC's own parser accepts an upper-case domain, a port and a query; here
whatever is not in the grammar is refused, and nothing is normalised.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from certs.errors import BadSpiffeId

SCHEME = "spiffe://"
MAX_ID_BYTES = 2048  # SPIFFE-ID §2.3
MAX_TRUST_DOMAIN_BYTES = 255  # SPIFFE-ID §2.3

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}", re.ASCII)
_SEGMENT = re.compile(r"[a-zA-Z0-9._-]+", re.ASCII)


def _shown(text: str) -> str:
    """Return `text` for an error message: escaped, since it came from a peer, and short."""
    return ascii(text[:80]) + ("..." if len(text) > 80 else "")


@dataclass(frozen=True, slots=True, order=True)
class TrustDomain:
    """The name of a trust domain: 1 to 255 of [a-z0-9._-] (SPIFFE-ID §2.1). Raises BadSpiffeId for anything else."""

    name: str

    def __post_init__(self) -> None:
        if not _TRUST_DOMAIN.fullmatch(self.name):
            raise BadSpiffeId(
                f"{_shown(self.name)} is no trust domain: use 1 to 255 characters of a-z 0-9 . - _, "
                "without scheme, port or upper case, such as example.org"
            )

    @property
    def spiffe_id(self) -> str:
        """The ID of the trust domain itself, as signing certificates carry it: spiffe://example.org."""
        return SCHEME + self.name

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class SpiffeId:
    """A SPIFFE ID: `path` is empty for the trust domain itself, else it starts with a slash.

    An instance is always valid: building one checks it, and raises BadSpiffeId.
    """

    trust_domain: TrustDomain
    path: str = ""
    _text: str = field(init=False, repr=False, compare=False, default="")

    def __post_init__(self) -> None:
        _check_path(self.path)
        text = f"{SCHEME}{self.trust_domain.name}{self.path}"
        if len(text) > MAX_ID_BYTES:  # the grammar is ASCII: characters are bytes
            raise BadSpiffeId(f"a SPIFFE ID has at most {MAX_ID_BYTES} bytes; this one has {len(text)}")
        object.__setattr__(self, "_text", text)

    @classmethod
    def parse(cls, text: str) -> SpiffeId:
        """Return the ID that `text` is, exactly. Raises BadSpiffeId (SPIFFE-ID §2)."""
        if len(text) > MAX_ID_BYTES:
            raise BadSpiffeId(f"a SPIFFE ID has at most {MAX_ID_BYTES} bytes; this one has more than {MAX_ID_BYTES}")
        if not text.startswith(SCHEME):
            raise BadSpiffeId(f"{_shown(text)} is no SPIFFE ID: it must start with {SCHEME}, in lower case")
        name, slash, rest = text[len(SCHEME) :].partition("/")
        return cls(TrustDomain(name), slash + rest)

    @property
    def segments(self) -> tuple[str, ...]:
        """The path's segments; none for the trust domain itself."""
        return tuple(self.path.split("/")[1:])

    def __str__(self) -> str:
        return self._text


def _check_path(path: str) -> None:
    """Raise BadSpiffeId unless `path` is empty or a sequence of whole segments (SPIFFE-ID §2.2)."""
    if not path:
        return
    if not path.startswith("/"):
        raise BadSpiffeId(f"the path {_shown(path)} of a SPIFFE ID must start with a slash")
    for segment in path[1:].split("/"):
        if segment in {"", ".", ".."}:
            raise BadSpiffeId(
                f"the path {_shown(path)} of a SPIFFE ID must not have empty, '.' or '..' segments or a trailing slash"
            )
        if not _SEGMENT.fullmatch(segment):
            raise BadSpiffeId(
                f"the path {_shown(path)} of a SPIFFE ID may have letters, digits, '.', '-' and '_' between its "
                "slashes; no percent-encoding, query or fragment"
            )
