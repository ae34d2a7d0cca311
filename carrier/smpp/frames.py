"""Octets in, whole PDUs out: cut by command_length, which is bounded before anything is kept (SMPP 3.4 §3.2)."""

from __future__ import annotations

from carrier.errors import FatalPduError
from carrier.smpp.constants import HEADER_BYTES

MAX_PDU_BYTES = 64 * 1024


class FrameSplitter:
    """Cuts one connection's octets into frames. Keeps at most one unfinished frame."""

    def __init__(self, max_pdu_bytes: int = MAX_PDU_BYTES) -> None:
        """`max_pdu_bytes`: the largest command_length taken, 16 to 65536."""
        if not HEADER_BYTES <= max_pdu_bytes <= MAX_PDU_BYTES:
            raise ValueError(f"max_pdu_bytes is {HEADER_BYTES} to {MAX_PDU_BYTES}, not {max_pdu_bytes}")
        self._max = max_pdu_bytes
        self._held = bytearray()
        self._needed = 4  # octets that must be held before looking again
        self.unsound: FatalPduError | None = None
        """Why nothing more comes out: set when a command_length was out of bounds. The frames before it are sound."""

    @property
    def held(self) -> bytes:
        """The octets of an unfinished frame: fewer than `max_pdu_bytes`."""
        return bytes(self._held)

    @property
    def held_bytes(self) -> int:
        """How many octets of an unfinished frame are held."""
        return len(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that `data` completes. Raises nothing, so that sound frames before an unsound one are not
        lost: look at `unsound` afterwards. After an unsound frame all input is dropped."""
        if self.unsound is not None:
            return []
        if self._held:
            self._held += data
            if len(self._held) < self._needed:
                return []
            data = bytes(self._held)
            self._held.clear()
        return self._cut(data)

    def _cut(self, data: bytes) -> list[bytes]:
        frames: list[bytes] = []
        position, end, largest = 0, len(data), self._max
        self._needed = 4
        while position + 4 <= end:
            length = int.from_bytes(data[position : position + 4], "big")
            if not HEADER_BYTES <= length <= largest:
                self.unsound = FatalPduError(f"command_length {length}: it is {HEADER_BYTES} to {largest}")
                return frames
            if position + length > end:
                self._needed = length
                break
            frames.append(data[position : position + length])
            position += length
        if position < end:
            self._held += data[position:]
        return frames
