"""Which signed list may follow which: a node's memory of the list in force, against rollback, replay and staleness.

It is sans-IO: heads, bodies and `now` in, a list or a refusal out. What has been seen outlives the process (`files`): a
node refuses older versions than the highest that it has seen, also after a restart, whatever has been put back
meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.revocation.codec import Head, open_body, verify
from gateway.revocation.entries import DenyList
from gateway.revocation.errors import BadDenyList, DenyListOutOfTime, ForgedDenyList, OldDenyList

SKEW = 5_000_000  # microseconds that a publisher's clock may be ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The newest list that a node has seen: its version, and the digest of its body."""

    version: int = 0
    digest: bytes = b""


class Taking:
    """Of one node. `max_age` in microseconds; `keys` are the pinned ones."""

    def __init__(self, keys: Sequence[Ed25519PublicKey], seen: Seen, max_age: int) -> None:
        self._keys = tuple(keys)
        self._max_age = max_age
        self._issued_at = 0
        self.seen = seen
        self.fresh_until = 0  # microseconds since the Unix epoch; 0: never was

    def refreshed_at(self) -> int:
        """Return when the list in force was last signed, 0 for never."""
        return self._issued_at

    def take(self, head_octets: bytes, body: bytes | None, now: int) -> DenyList | None:
        """Take up a list, or a fresh head of the one that is in force (None: there is nothing new in it).

        Raises BadDenyList, ForgedDenyList, DenyListOutOfTime, and OldDenyList: then nothing has changed.
        """
        head = verify(head_octets, self._keys)
        self._check_time(head, now)
        self._check_order(head)
        known = head.version == self.seen.version and self._issued_at > 0
        if not known and body is None:
            raise BadDenyList("the entries of the deny list are missing")
        deny = None if known or body is None else open_body(head, body)
        self._accept(head)
        return deny

    def restore(self, head_octets: bytes, body: bytes) -> DenyList:
        """Take up the list of an earlier run, as fresh as it was signed. Raises like `take`, but for its time."""
        head = verify(head_octets, self._keys)
        self._check_order(head)
        deny = open_body(head, body)
        self._accept(head)
        return deny

    def _accept(self, head: Head) -> None:
        self.seen = Seen(version=head.version, digest=head.digest)
        self._issued_at = head.issued_at
        self.fresh_until = min(head.issued_at + self._max_age, head.expires_at)

    def _check_time(self, head: Head, now: int) -> None:
        if head.issued_at > now + SKEW:
            ahead = (head.issued_at - now) / 1e6
            raise DenyListOutOfTime(f"the deny list was signed {ahead:.1f} s in the future: check both clocks")
        if now > min(head.issued_at + self._max_age, head.expires_at):
            raise DenyListOutOfTime(f"the deny list was signed {(now - head.issued_at) / 1e6:.0f} s ago: it is too old")

    def _check_order(self, head: Head) -> None:
        if head.version < self.seen.version:
            raise OldDenyList(
                f"version {head.version} of the deny list is older than {self.seen.version}, which this node has seen: "
                "was the publisher put back from a backup? Any revocation there makes a newer version"
            )
        if head.version == self.seen.version and self.seen.digest and head.digest != self.seen.digest:
            raise ForgedDenyList(f"there are two deny lists of version {head.version}: the signing key is used by two")
        if head.version == self.seen.version and head.issued_at < self._issued_at:
            raise OldDenyList("a newer signature of the same deny list is known")
