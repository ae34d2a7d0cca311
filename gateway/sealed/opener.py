"""The payload keys at work, as the pipeline needs them."""

from __future__ import annotations

from gateway.sealed.binding import Bearer
from gateway.sealed.compact import Header
from gateway.sealed.keys import PayloadKeys
from smsgw.v1 import message_pb2


class Opener:
    """Opens content by the keys in force."""

    def __init__(self, keys: PayloadKeys) -> None:
        self._keys = keys

    def check(self, header: Header, accepted_at: int) -> None:
        """Raise SealedRefused unless there is a key for content of a message that was accepted then."""
        self._keys.opening(header, accepted_at)

    def open(self, jwe: str, header: Header, bearer: Bearer) -> message_pb2.Content:
        """Return the content. May run on another thread. Raises SealedRefused."""
        from gateway.sealed.opening import open_sealed  # it loads the library: a node without keys does not

        return open_sealed(jwe, header, self._keys.opening(header, bearer.accepted_at), bearer)
