"""Message ids as carriers write them. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

_FORMS: Mapping[str, Callable[[int], str]] = {
    "uuid": lambda number: str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),
    "uuid_upper": lambda number: str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))).upper(),
    "hex": lambda number: f"{number:x}",
    "hex_upper": lambda number: f"{number:X}",
    "hex_padded": lambda number: f"{number:016X}",
    "hex_bytes": lambda number: str(number).encode("ascii").hex(),  # the octets of the decimal id, each in hex
    "decimal": lambda number: f"{number:010d}",
    "decimal_plain": str,
    "spaced": lambda number: f" {number:010d} ",
    "text": lambda number: f"Msg-{number:x}",
    "text_upper": lambda number: f"Msg-{number:x}".upper(),
}


def write_id(number: int, form: str) -> str:
    """Return `number` in one of `carrier.simulator.script_deliveries.ID_FORMS`."""
    return _FORMS[form](number)


class Ids:
    """Gives message ids in one form, each once. `first` should differ from run to run."""

    def __init__(self, form: str, first: int) -> None:
        self._form = form
        self._next = first

    def new(self) -> tuple[int, str]:
        """Return the next id as number and as text."""
        number = self._next
        self._next += 1
        return number, write_id(number, self._form)
