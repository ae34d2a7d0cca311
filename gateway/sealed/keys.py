"""The payload keys in force: which content they open, and which of them are published.

Each has a moment until when callers seal to it. What was accepted before that is opened as long as the key is
configured; what is accepted later is refused. So two keys overlap, and the older one may be taken out of the
configuration when its last message has been sent: 14 days later.

A node that only accepts has their public halves: it publishes them and knows what it may take, and opens nothing.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.sealed.compact import Header
from gateway.sealed.errors import SealedRefused

if TYPE_CHECKING:
    from gateway.sealed.jose import JoseKey  # a node without such keys does not load the library

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadKey:
    """One key. `not_after` in seconds since the Unix epoch."""

    kid: str
    alg: str
    not_after: int
    half: JoseKey = field(repr=False)  # the private one; the public one on a node that only accepts

    @property
    def private(self) -> JoseKey:
        """What opens. Raises SealedRefused where there is only the public half."""
        if not self.half.is_private:
            raise SealedRefused("PAYLOAD_KEY_UNKNOWN", f"this node has the public half of the key {self.kid} alone")
        return self.half

    @property
    def public(self) -> dict[str, Any]:
        """What is published of it."""
        return {**self.half.as_dict(private=False), **self.names}

    @property
    def names(self) -> dict[str, Any]:
        """What the JWK says beside the key itself."""
        return {"kid": self.kid, "use": "enc", "alg": self.alg, "exp": self.not_after}


class PayloadKeys:
    """The keys in force, in the order of preference. Belongs to one event loop."""

    def __init__(self, keys: Sequence[PayloadKey] = ()) -> None:
        self.use(keys)

    def use(self, keys: Sequence[PayloadKey]) -> None:
        """Have these keys from now on."""
        self._keys = {key.kid: key for key in keys}

    @property
    def end(self) -> int:
        """When the last of them ends, in microseconds; 0 where there are none."""
        return max((key.not_after for key in self._keys.values()), default=0) * _SECOND

    def published(self, now: int) -> str:
        """Return the JWK set (RFC 7517 §5) of the keys that may be sealed to at `now`, in microseconds."""
        live = [key.public for key in self._keys.values() if now < key.not_after * _SECOND]
        return json.dumps({"keys": live}, separators=(",", ":"))

    def opening(self, header: Header, accepted_at: int) -> PayloadKey:
        """Return the key of the content of a message that was, or would be, accepted at `accepted_at`, in microseconds.
        Raises SealedRefused where there is none, or not any more."""
        key = self._keys.get(header.kid)
        if key is None:
            text = "the content is sealed to a key that this gateway does not have: it was retired, or is another's"
            raise SealedRefused("PAYLOAD_KEY_UNKNOWN", text)
        if accepted_at >= key.not_after * _SECOND:
            ended = dt.datetime.fromtimestamp(key.not_after, dt.UTC)
            text = f"the content is sealed to the key {key.kid}, which was retired at {ended:%Y-%m-%dT%H:%M:%SZ}"
            raise SealedRefused("PAYLOAD_KEY_RETIRED", text)
        if header.alg != key.alg:
            raise SealedRefused("SEALED_ALGORITHM_REFUSED", f"the key {key.kid} is for {key.alg}")
        return key
