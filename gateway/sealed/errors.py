"""What is raised about sealed content and the keys to it. The tree:

SealedRefused       the content, or what it is bound to, is not right: the caller's fault, never retried
PayloadKeyRefused   a file does not hold a payload key that can be used: the operator's fault
"""

from __future__ import annotations


class SealedRefused(Exception):
    """Sealed content that is not sent. `reason` is stable and for machines; the text is for people, and holds nothing
    that came with the content."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class PayloadKeyRefused(ValueError):
    """A payload key cannot be used; the text says why, and holds nothing of the key."""
