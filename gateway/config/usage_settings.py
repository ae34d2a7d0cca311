"""The settings of usage: what messages cost, and how many and how much tenants may use. See docs/usage.md."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from decimal import Decimal

from gateway.config.definitions import setting
from gateway.config.kinds import NAME, Choice, Integer, Items, Section, Table, Text, clip
from gateway.config.route_settings import COUNTRY, PREFIX, CategoryName

_DIGITS = 6  # behind the point of an amount: millionths


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A decimal number of at most 9 digits and 6 behind the point; never a float. `2`, `0.0075`."""

    above_zero: bool = False
    quotable: bool = True

    def read(self, text: str) -> Decimal:
        """Return the number."""
        if not re.fullmatch(rf"[0-9]{{1,9}}(?:\.[0-9]{{1,{_DIGITS}}})?", text):
            raise ValueError(f"wants {self.describe()}; {clip(text)} is none")
        value = Decimal(text)
        if self.above_zero and not value:
            raise ValueError(f"wants {self.describe()}; 0 is none")
        return value

    def show(self, value: object) -> str:
        """Return the number as it is written."""
        return f"{value:f}" if isinstance(value, Decimal) else str(value)

    def describe(self) -> str:
        """Return what is wanted."""
        more = ", more than 0" if self.above_zero else ""
        return f"an amount such as 0.0075, with at most {_DIGITS} digits behind the point{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A UTC day: `2026-11-27`."""

    quotable: bool = True

    def read(self, text: str) -> dt.date:
        """Return the day."""
        try:
            if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
                return dt.date.fromisoformat(text)
        except ValueError:
            pass
        raise ValueError(f"wants {self.describe()}; {clip(text)} is none")

    def show(self, value: object) -> str:
        """Return the day as it is written."""
        return str(value)

    def describe(self) -> str:
        """Return what is wanted."""
        return "a day such as 2026-11-27"


CURRENCY = Text(meaning="a currency by its three letters, as EUR", pattern=r"[A-Z]{3}", low=3, high=3)
PERCENT = Integer(low=1, high=99, unit="percent")
MESSAGES = Integer(low=0, high=1_000_000_000_000, unit="messages")


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSettings:
    """What a carrier bills for one segment."""

    carrier: str = setting(NAME, doc="Whose price it is.", example="acme-sms")
    price: Decimal = setting(Amount(), doc="Of one segment.", example="0.0075")
    prefix: str | None = setting(
        PREFIX, optional=True, doc="For numbers that begin so; the longest that fits counts.", example="+4915"
    )
    country: str | None = setting(
        COUNTRY, optional=True, doc="For numbers of this country (ISO 3166-1), where no prefix fits.", example="DE"
    )
    category: CategoryName | None = setting(
        Choice(CategoryName), optional=True, doc="For this category, before one for all of them.", example="OTP"
    )
    currency: str | None = setting(
        CURRENCY, optional=True, doc="Left out: usage.currency. Another one needs its rate.", example="USD"
    )
    valid_from: dt.date | None = setting(
        Day(), optional=True, doc="From the beginning of this UTC day on. Left out: always.", example="2026-12-01"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CapSettings:
    """How much a tenant may use. Each bound that is set counts by itself."""

    tenant: str = setting(NAME, doc="The tenant's name, as under tenants.", example="demo")
    category: CategoryName | None = setting(
        Choice(CategoryName), optional=True, doc="Only messages of this category.", example="PROMOTIONAL"
    )
    country: str | None = setting(COUNTRY, optional=True, doc="Only messages to this country.", example="DE")
    messages_per_day: int | None = setting(MESSAGES, optional=True, doc="In a UTC day.", example="100000")
    messages_per_month: int | None = setting(MESSAGES, optional=True, doc="In a month of UTC days.")
    spend_per_day: Decimal | None = setting(Amount(), optional=True, doc="Of usage.currency.", example="250")
    spend_per_month: Decimal | None = setting(Amount(), optional=True, doc="Of usage.currency.")


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSettings:
    """What messages cost, and how much of them tenants may use. See docs/usage.md."""

    currency: str | None = setting(
        CURRENCY, optional=True, doc="In which costs are counted and capped. Needed with prices.", example="EUR"
    )
    rates: dict[str, Decimal] = setting(
        Table(CURRENCY, Amount(above_zero=True), high=50),
        reloadable=True,
        doc="What one unit of another currency is in usage.currency.",
        example="USD: 0.92",
    )
    prices: tuple[PriceSettings, ...] = setting(
        Items(Section(PriceSettings), high=10_000),
        reloadable=True,
        doc="What carriers bill. Of those that fit a message, the longest prefix counts, then the country, then the "
        "category, then the latest.",
    )
    caps: tuple[CapSettings, ...] = setting(
        Items(Section(CapSettings), high=1000), reloadable=True, doc="Bounds of tenants, by UTC day and month."
    )
    alert_at: int = setting(
        PERCENT, default="80", reloadable=True, doc="The part of a cap from which an alert says that it nears."
    )
    sealed_segments: int = setting(
        Integer(low=1, high=255, unit="segments"),
        default="3",
        reloadable=True,
        doc="How many segments are reserved for content that the caller has sealed.",
    )
