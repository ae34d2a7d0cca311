"""Whether the peer is alive: what was asked, what was heard, when to ask next (SMPP 3.4 §4.11). Pure."""

from __future__ import annotations

UNANSWERED = 2  # enquire_links without an answer before the peer is taken for dead


class Liveness:
    """The enquire_links of one session. Whatever the peer sends is a sign of life."""

    def __init__(self, enquire_link_s: float, now: float) -> None:
        """`enquire_link_s`: silence after which to ask."""
        self._silence_s = enquire_link_s
        self._heard_at = now
        self.asked: set[int] = set()  # sequence numbers of enquire_links without an answer

    def heard(self, now: float) -> None:
        """The peer has sent something."""
        self._heard_at = now
        self.asked.clear()

    @property
    def dead(self) -> bool:
        """Whether as many questions as are asked went unanswered: to be looked at when the next one is due."""
        return len(self.asked) >= UNANSWERED

    @property
    def due_at(self) -> float:
        """When the next question is due, or the verdict."""
        return self._heard_at + self._silence_s * (1 + len(self.asked))
