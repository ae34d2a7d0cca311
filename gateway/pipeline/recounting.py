"""Whether nodes that only accept count texts as this node's carriers write them.

They are told how by `messages.counted_for`, a copy of what relaying nodes have in their carriers' `text`
(docs/roles.md). Nothing but a message has gone through both, and it has its number of segments with it: so a relaying
node counts again what it sends, and says when that differs. Messages of before its carriers were last changed are left
out, since they may have been counted rightly then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from carrier.profile import CarrierProfile
from carrier.text.writing import Counting, counting
from gateway.ids import made_at
from gateway.store.contract import Waiting
from smsgw.v1 import message_pb2
from visibility.alerts import AlertSink
from visibility.catalogue import SEGMENTS_DIFFER


class Recounter:
    """Counts again by the profiles of all carriers, and raises the alert."""

    def __init__(self, profiles: Iterable[CarrierProfile], alerts: AlertSink, now: Callable[[], int]) -> None:
        """`now`: microseconds since the Unix epoch."""
        self._alerts = alerts
        self._now = now
        self.use(profiles)

    def use(self, profiles: Iterable[CarrierProfile]) -> None:
        """Count by these profiles from now on, what is accepted from now on."""
        self._counting: Counting = counting(profile.text for profile in profiles)
        self._since = self._now()

    def look(self, message: Waiting, content: message_pb2.Content) -> None:
        """Compare a message that can be written with what it was counted as (hot)."""
        segments = self._count(content)
        if segments != message.segments and made_at(message.id) >= self._since:
            why = f"a message was counted as {message.segments} segments when it was accepted, and here as {segments}"
            self._alerts.raise_alert(SEGMENTS_DIFFER, why=why)

    def _count(self, content: message_pb2.Content) -> int:
        if content.text:
            return self._counting.count(content.text)[1]
        binary = content.binary
        return 1 if binary.user_data_header else self._counting.count_binary(len(binary.data))
