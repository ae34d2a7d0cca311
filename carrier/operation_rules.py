"""What a carrier is asked about messages that have left: plain data. How it is asked is `carrier.asking`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRules:
    """What a carrier is asked after it has taken a message. What it answers not to know, it is not asked again."""

    cancel: bool = True
    query: bool = True
    query_after_s: float = 900.0  # without a receipt


USUAL_OPERATIONS = OperationRules()
