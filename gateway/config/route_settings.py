"""The settings of routes: which messages go by which carriers. docs/routing.md explains them."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.config.definitions import setting
from gateway.config.kinds import NAME, Choice, Integer, Items, Number, Section, Table, Text, clip
from gateway.routing.hours import Hours, hours_text, parse_hours
from gateway.routing.routes import Strategy

PREFIX = Text(
    meaning="the beginning of a number, its plus sign and at most 7 digits, as +4915",
    pattern=r"\+[1-9][0-9]{0,6}",
    low=2,
    high=8,
)
COUNTRY = Text(meaning="a country by two capital letters, as DE", pattern=r"[A-Z]{2}", low=2, high=2)
SENDER = Text(meaning="a sender", low=1, high=16)


class CategoryName(enum.StrEnum):
    """A category, as callers and policies call it."""

    OTP = "OTP"
    TRANSACTIONAL = "TRANSACTIONAL"
    PROMOTIONAL = "PROMOTIONAL"


@dataclass(frozen=True, slots=True)
class WeekHours:
    """Hours of the week: `mon-fri 09:00-21:00`."""

    quotable: bool = True

    def read(self, text: str) -> Hours:
        """Return the hours."""
        try:
            return parse_hours(text)
        except ValueError as error:
            raise ValueError(f"{error}; {clip(text)} is not") from None

    def show(self, value: object) -> str:
        """Return the hours as they are written, in quotes: a colon is YAML's."""
        return f'"{hours_text(value)}"' if isinstance(value, Hours) else f'"{value}"'

    def describe(self) -> str:
        """Return what is wanted."""
        return "hours, as mon-fri 09:00-21:00"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSettings:
    """One carrier of a route."""

    carrier: str = setting(NAME, doc="A carrier's name, as under carriers.", example="acme")
    priority: int = setting(
        Integer(low=1, high=100),
        default="1",
        doc="Targets of a lower number go first; the others wait for when none of those can.",
    )
    weight: int = setting(
        Integer(low=1, high=1000),
        default="1",
        doc="With strategy weighted: its share among the targets of its priority.",
    )
    cost: float | None = setting(
        Number(low=0, high=1_000_000),
        optional=True,
        doc="What one segment costs there, all costs in the same currency. Wanted by strategy least_cost.",
        example="0.05",
    )
    sender: str | None = setting(
        SENDER,
        optional=True,
        doc="The sender that this carrier is told. Left out: the message's own. Policies are asked about the one told.",
        example="ACMEIN",
    )
    senders: Mapping[str, str] = setting(
        Table(key=SENDER, value=SENDER, high=1000),
        doc="The same for single senders of messages: `ACME: ACMEIN`. Goes before `sender`.",
        example="ACME: ACMEIN",
    )
    when: tuple[Hours, ...] = setting(
        Items(WeekHours(), high=32),
        doc="When it may be used: `mon-fri 09:00-21:00`, `sat,sun 10:00-14:00`, `22:00-06:00`. Left out: always.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSettings:
    """Which messages go by which carriers."""

    name: str = setting(NAME, doc="How the route is called in the audit and in explanations.", example="india-otp")
    prefixes: tuple[str, ...] = setting(
        Items(PREFIX, high=1000),
        doc="Numbers that begin so. The longest prefix of all routes that fit wins, and any prefix goes before a "
        "country.",
        example="+91",
    )
    countries: tuple[str, ...] = setting(
        Items(COUNTRY, high=300),
        doc="Numbers of these countries (ISO 3166-1; ZZ: of none that is known). With prefixes: one of the two fits.",
    )
    senders: tuple[str, ...] = setting(Items(SENDER, high=1000), doc="Only messages of these senders.")
    categories: tuple[CategoryName, ...] = setting(
        Items(Choice(CategoryName), high=3), doc="Only these categories.", example="OTP"
    )
    tenants: tuple[str, ...] = setting(Items(NAME, high=1000), doc="Only messages of these tenants.")
    strategy: Strategy = setting(
        Choice(Strategy),
        default="weighted",
        doc="How targets of one priority share messages: by weight, or all to the cheapest that can take them.",
    )
    timezone: str | None = setting(
        Text(meaning="a time zone, as UTC or Europe/Berlin", pattern=r"[A-Za-z0-9_+/-]+", low=1, high=64),
        optional=True,
        doc="Of the clock on which `when` is read. Left out: policy.timezone.",
        example="Asia/Kolkata",
    )
    targets: tuple[TargetSettings, ...] = setting(
        Items(Section(TargetSettings), low=1, high=16), doc="Where the route leads: carriers, each once."
    )
