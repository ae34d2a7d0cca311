"""The settings of a carrier about messages that have left (`carrier.operation_rules`)."""

from __future__ import annotations

from dataclasses import dataclass

from carrier.operation_rules import OperationRules
from gateway.config.definitions import setting
from gateway.config.kinds import Duration, Flag


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationSettings:
    """What the carrier is asked about a message that it has taken."""

    cancel: bool = setting(
        Flag(),
        default="true",
        doc="Whether CancelMessage asks it to cancel a message (cancel_sm). A carrier that answers that it does not "
        "know the command is not asked again until its link is made anew.",
    )
    query: bool = setting(
        Flag(),
        default="true",
        doc="Whether it is asked (query_sm) about messages whose receipt is overdue, and about those in doubt of which "
        "it has given an id. It is not asked again once it has answered that it does not know the command.",
    )
    query_after_s: float = setting(
        Duration(low="1s", high="7d"),
        default="15m",
        doc="How long after it was sent a message without a receipt is asked about; each further time twice as long.",
    )

    def rules(self) -> OperationRules:
        """Return them as the profile has them."""
        return OperationRules(cancel=self.cancel, query=self.query, query_after_s=self.query_after_s)
