"""What cannot be opened is shown without it, and one such row never keeps a caller from the others.

A data key that was destroyed on purpose is nothing to wonder about: an older backup was restored, or operators
destroyed the keys of some days. Anything else is damage, or a key that is missing, of which the operators are told.
"""

from __future__ import annotations

import logging
from typing import TypeAlias

from gateway.errors import KeyDestroyed, StoreCorrupt
from smsgw.v1 import message_pb2
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import STORED_DATA_CORRUPT

log = logging.getLogger(__name__)

Why: TypeAlias = message_pb2.Unreadable.ValueType


class Damage:
    """Says why something cannot be opened, and tells the operators of damage: which key, which file is for them."""

    def __init__(self, alerts: AlertSink = NOBODY) -> None:
        self._alerts = alerts

    def why(self, what: str, error: StoreCorrupt) -> Why:
        """Return the reason that callers get; `what` names the message, for the log."""
        if isinstance(error, KeyDestroyed):
            return message_pb2.UNREADABLE_KEY_DESTROYED
        log.error("stored_data_corrupt", extra={"what": what, "why": str(error)})
        self._alerts.raise_alert(STORED_DATA_CORRUPT, why="something stored cannot be opened, and is shown without it")
        return message_pb2.UNREADABLE_DAMAGED


LOGGED = Damage()
