"""The settings of how addresses and the other fields of submit_sm are written for one carrier."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

import re
from dataclasses import dataclass

from carrier.addresses import AddressProfile, Plan, SenderAlphabet
from carrier.submit_rules import SubmitRules, ValidityForm
from gateway.config.definitions import setting
from gateway.config.kinds import Choice, Flag, Integer, Section, Text, clip

_PLAN = re.compile(r"([0-6])/([0-9]|1[0-8])", re.ASCII)
PRIORITY = Integer(low=0, high=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class TonNpi:
    """Type of number and numbering plan: `1/1`."""

    quotable: bool = True

    def read(self, text: str) -> Plan:
        """Return both."""
        found = _PLAN.fullmatch(text)
        if not found:
            raise ValueError(f"wants {self.describe()}; {clip(text)} is not")
        return Plan(int(found[1]), int(found[2]))

    def show(self, value: object) -> str:
        """Return both as they are written."""
        return f"{value.ton}/{value.npi}" if isinstance(value, Plan) else str(value)

    def describe(self) -> str:
        """Return what is wanted."""
        return "type of number (0 to 6) / numbering plan (0 to 18), as 5/0"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressSettings:
    """How senders and recipients are written (SMPP 3.4 §5.2.5 to §5.2.9)."""

    alphanumeric: Plan = setting(TonNpi(), default="5/0", doc="Of an alphanumeric sender.")
    short_code: Plan = setting(TonNpi(), default="3/0", doc="Of a sender of 3 to 8 digits.")
    number: Plan = setting(TonNpi(), default="1/1", doc="Of a sender that is a number in E.164.")
    recipient: Plan = setting(TonNpi(), default="1/1", doc="Of the recipient.")
    keep_plus: bool = setting(Flag(), default="false", doc="Keep the plus sign before numbers in E.164.")
    sender_alphabet: SenderAlphabet = setting(
        Choice(SenderAlphabet),
        default="latin1",
        doc="In which octets an alphanumeric sender is written: latin1, ascii, or gsm7. What it cannot write is "
        "refused: in gsm7 that is one with an @, which would end the address.",
    )

    def profile(self) -> AddressProfile:
        """Return them as the profile has them."""
        return AddressProfile(
            alphanumeric=self.alphanumeric,
            short_code=self.short_code,
            number=self.number,
            recipient=self.recipient,
            keep_plus=self.keep_plus,
            sender_alphabet=self.sender_alphabet,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrioritySettings:
    """priority_flag of each category (SMPP 3.4 §5.2.14)."""

    otp: int = setting(PRIORITY, default="0", doc="Of one-time passwords.")
    transactional: int = setting(PRIORITY, default="0", doc="Of transactional messages.")
    promotional: int = setting(PRIORITY, default="0", doc="Of promotional messages.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitSettings:
    """What stands in every submit_sm (SMPP 3.4 §4.4.1)."""

    service_type: str = setting(
        Text(meaning="a service_type of printable ASCII", pattern=r"[\x21-\x7e]+", high=5),
        default="",
        doc="Only where the carrier asks for one; older carriers bill by it.",
    )
    protocol_id: int = setting(Integer(low=0, high=255), default="0", doc="TP-PID (3GPP TS 23.040 §9.2.3.9).")
    registered_delivery: int = setting(
        Integer(low=0, high=31),
        default="1",
        doc="Which receipts are asked for (SMPP 3.4 §5.2.17): 1 for success and failure, 17 for intermediate ones too. "
        "With 0 a message stays SUBMITTED until the end of its time.",
    )
    priority: PrioritySettings = setting(
        Section(PrioritySettings), doc="priority_flag of each category; what it means is the carrier's matter."
    )
    validity_period: ValidityForm = setting(
        Choice(ValidityForm),
        default="relative",
        doc="How the end of a message's validity is told: relative, absolute (in UTC), or none; then the carrier may "
        "deliver after it.",
    )
    replace_if_present: bool = setting(
        Flag(),
        default="false",
        doc="Ask the carrier to replace a message of the same sender and recipient (and service_type) that still waits "
        "there (SMPP 3.4 §5.2.18): the newer code instead of both. The one replaced gets no receipt, and stays "
        "SUBMITTED until its time ends. Never asked for a message of several parts.",
    )

    def rules(self) -> SubmitRules:
        """Return them as the profile has them."""
        priority = self.priority
        return SubmitRules(
            service_type=self.service_type,
            protocol_id=self.protocol_id,
            registered_delivery=self.registered_delivery,
            priorities=(priority.otp, priority.transactional, priority.promotional),
            validity_period=self.validity_period,
            replace_if_present=self.replace_if_present,
        )
