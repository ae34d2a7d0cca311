"""How a flow of messages over StreamMessages goes, whoever drives it. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass

from smsgw.client.retrying import Attempts, RetryBudget, RetryPolicy

ANSWER_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowOptions:
    """How a flow goes: when it is retried, how large its frames are, and what its calls carry."""

    policy: RetryPolicy
    budget: RetryBudget
    patience_s: float
    frame_size: int
    metadata: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        if not 1 <= self.frame_size <= 1000:
            raise ValueError("a frame has 1 to 1,000 messages")

    def attempts(self, now: float) -> Attempts:
        """Return the attempts after the last answer."""
        return Attempts(self.policy, self.budget, deadline=now + self.patience_s, repeatable=True)
