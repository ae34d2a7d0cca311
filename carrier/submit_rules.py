"""The fields of submit_sm that carriers want otherwise: plain data (SMPP 3.4 §4.4.1)."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ValidityForm(enum.StrEnum):
    """How the end of a message's validity is told (SMPP 3.4 §7.1.1)."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"  # in UTC
    NONE = "none"  # it is not told, and the carrier's own default holds


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitRules:
    """What stands in every submit_sm."""

    service_type: str = ""
    protocol_id: int = 0
    registered_delivery: int = 1  # 1: a receipt for success and failure (SMPP 3.4 §5.2.17)
    priorities: tuple[int, int, int] = (0, 0, 0)  # priority_flag of OTP, transactional, promotional
    validity_period: ValidityForm = ValidityForm.RELATIVE
    replace_if_present: bool = False  # in messages of one part: parts would replace one another


PLAIN_SUBMIT = SubmitRules()
