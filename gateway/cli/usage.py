"""`smsgw usage`: what tenants have used, and what it cost; for operators of all tenants, for a caller of its own."""

from __future__ import annotations

import calendar
import csv
import datetime as dt
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

import click
from rich.table import Table

from gateway.cli.connection import client_settings, connection_options, operator_settings, run
from gateway.cli.manners import Misused, console, emit, json_option, print_table, shown
from gateway.cli.render import as_json as to_json
from gateway.client import CALL_TIMEOUT_S, explained, open_channel
from gateway.config.client_file import ClientSettings
from gateway.states import Category
from smsgw.v1 import usage_service_pb2 as pb
from smsgw.v1.usage_service_pb2_grpc import UsageReportServiceStub, UsageServiceStub

_DIMENSIONS = ("tenant", "day", "category", "carrier", "country")
_COUNTS = (
    "accepted",
    "accepted_segments",
    "submitted",
    "submitted_segments",
    "delivered",
    "delivered_segments",
    "failed",
    "failed_segments",
)
_BAR = 24  # columns
_CATEGORIES: dict[int, str] = {category.value: category.name for category in Category}
_EIGHTHS = " ▏▎▍▌▋▊▉"
_MICRO = 6  # digits of an amount behind its point


_Answer: TypeAlias = pb.GetUsageResponse | pb.ReportUsageResponse


@click.command(short_help="Show what tenants have used, and what it cost.")
@click.option(
    "--by",
    "dimensions",
    multiple=True,
    type=click.Choice(_DIMENSIONS),
    help="What to tell apart; may be given several times. Left out: the tenants.",
)
@click.option("--month", metavar="YYYY-MM", help="A month, by UTC. Left out: this one.")
@click.option("--day", metavar="YYYY-MM-DD", help="A day, by UTC, instead of a month.")
@click.option("--tenant", default="", help="Of this tenant only.")
@click.option("--own", is_flag=True, help="Call as a caller: its own tenant's usage, on the API's address.")
@click.option("--caps", "only_caps", is_flag=True, help="Show how much of each cap is used, and nothing else.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a head, for spreadsheets.")
@connection_options
@json_option
def usage(
    dimensions: tuple[str, ...],
    month: str | None,
    day: str | None,
    tenant: str,
    own: bool,
    only_caps: bool,
    as_csv: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Show how many messages and segments were accepted, taken by carriers, delivered and not, and what carriers bill.

    SUBMITTED counts the segments that carriers have taken; BILLED is their price by the price table. FAILED are those
    that ended otherwise than delivered. A line has no carrier for what had none: acceptance.

    \b
    Examples:
      smsgw usage
      smsgw usage --month 2026-11 --by tenant --by carrier
      smsgw usage --day 2026-11-27 --tenant shop --by country --csv
      smsgw usage --own --by category
      smsgw usage --caps --json
    """
    if as_csv and as_json:
        raise Misused("--csv and --json are two answers: choose one", reason="TWO_FORMATS")
    if as_csv and only_caps:
        raise Misused("--caps is shown as a table, or as --json", reason="TWO_FORMATS")
    if own and tenant:
        raise Misused("--own is the caller's own tenant: --tenant is for operators", reason="TWO_TENANTS")
    by = list(dict.fromkeys(dimensions)) or ["tenant"]
    first, last = _days(month, day)
    values = [pb.UsageDimension.Value(f"USAGE_DIMENSION_{name.upper()}") for name in by]
    query = pb.UsageQuery(first_day=first.isoformat(), last_day=last.isoformat(), by=values)
    settings = client_settings(options) if own else operator_settings(options)
    answer = run(_ask(settings, query, tenant, own=own))
    rows, caps = answer.rows, answer.caps
    if only_caps:
        _print_caps(caps, as_json=as_json)
    elif as_json:
        for row in rows:
            emit(_fields(row))
    elif as_csv:
        _print_csv(rows, by)
    else:
        _print_table(rows, by, f"{first} to {last} (UTC)" if first != last else f"{first} (UTC)")
        if caps:
            _print_caps(caps, as_json=False)


async def _ask(settings: ClientSettings, query: pb.UsageQuery, tenant: str, *, own: bool) -> _Answer:
    async with open_channel(settings) as channel:
        with explained(settings):
            if own:
                return await UsageServiceStub(channel).GetUsage(pb.GetUsageRequest(query=query), timeout=CALL_TIMEOUT_S)
            request = pb.ReportUsageRequest(query=query, tenant=tenant)
            return await UsageReportServiceStub(channel).ReportUsage(request, timeout=CALL_TIMEOUT_S)


def _days(month: str | None, day: str | None) -> tuple[dt.date, dt.date]:
    """Return the first and the last day that are meant. Raises Misused."""
    if month and day:
        raise Misused("--month and --day are two periods: choose one", reason="TWO_PERIODS")
    try:
        if day:
            one = dt.datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=dt.UTC).date()
            return one, one
        start = dt.datetime.strptime(month, "%Y-%m").replace(tzinfo=dt.UTC) if month else dt.datetime.now(dt.UTC)
    except ValueError:
        text = f"{shown(day or month or '')} is no period: write --month 2026-11, or --day 2026-11-27"
        raise Misused(text, reason="BAD_PERIOD") from None
    first = start.date().replace(day=1)
    return first, first.replace(day=calendar.monthrange(first.year, first.month)[1])


def amount(micros: int) -> str:
    """Return millionths as a decimal number, with two digits at least behind its point."""
    whole, rest = divmod(abs(micros), 10**_MICRO)
    digits = f"{rest:0{_MICRO}d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micros < 0 else ''}{whole}.{digits}"


def _fields(row: pb.UsageRow) -> dict[str, object]:
    """Return a row for machines: numbers as numbers, and the amount as a decimal text."""
    fields = to_json(row, whole=True)
    fields.update({name: int(str(fields[name])) for name in _COUNTS})
    fields["spent"] = amount(row.spent_micros)
    del fields["spent_micros"]
    if not row.category:
        fields["category"] = ""
    return fields


def _names(row: pb.UsageRow, by: Sequence[str]) -> list[str]:
    """Return what a row is told apart by."""
    return [_CATEGORIES.get(row.category, "") if name == "category" else str(getattr(row, name)) for name in by]


def _print_csv(rows: Sequence[pb.UsageRow], by: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*by, *_COUNTS, "spent", "currency"])
    for row in rows:
        counts = [str(getattr(row, name)) for name in _COUNTS]
        writer.writerow([*map(_cell, _names(row, by)), *counts, amount(row.spent_micros), row.currency])


def _cell(text: str) -> str:
    """Return a text as a spreadsheet takes it for a text, and not for a formula."""
    text = shown(text)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@"} else text


def _print_table(rows: Sequence[pb.UsageRow], by: Sequence[str], period: str) -> None:
    console().print(period)
    if not rows:
        console().print("nothing was used")
        return
    heads = ("ACCEPTED", "SUBMITTED", "DELIVERED", "FAILED", "BILLED")
    table = Table(*(name.upper() for name in by), box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, justify="right")
    table.add_column("")
    most = max(max(row.accepted, row.submitted_segments) for row in rows)
    for row in rows:
        counts = (_pair(row, "accepted"), _pair(row, "submitted"), _pair(row, "delivered"), _pair(row, "failed"))
        billed = f"{amount(row.spent_micros)} {shown(row.currency)}".rstrip() if row.spent_micros else ""
        table.add_row(*map(shown, _names(row, by)), *counts, billed, _bar(row, most))
    print_table(table)
    console().print("messages / segments", style="dim")


def _print_caps(caps: Sequence[pb.UsageCap], *, as_json: bool) -> None:
    """Print how much of each cap is used, the fullest first."""
    ordered = sorted(caps, key=lambda cap: cap.used / max(1, cap.limit), reverse=True)
    if as_json:
        for cap in ordered:
            show = amount if cap.currency else int
            category = _CATEGORIES.get(cap.category, "")
            emit({**to_json(cap, whole=True), "category": category, "limit": show(cap.limit), "used": show(cap.used)})
        return
    if not ordered:
        console().print("no caps")
        return
    table = Table("TENANT", "CAP", "USED", "OF", "", "UNTIL", box=None, pad_edge=False)
    for cap in ordered:
        scope = "/".join(filter(None, (_CATEGORIES.get(cap.category, ""), cap.country, cap.bound)))
        used, limit = (f"{amount(n)} {cap.currency}" if cap.currency else str(n) for n in (cap.used, cap.limit))
        part = min(1.0, cap.used / max(1, cap.limit))
        percent = f"{100 * cap.used // max(1, cap.limit)} % {'█' * round(part * _BAR)}"
        table.add_row(*map(shown, (cap.tenant, scope, used, limit)), percent, cap.last_day)
    print_table(table)


def _pair(row: pb.UsageRow, name: str) -> str:
    messages, segments = getattr(row, name), getattr(row, f"{name}_segments")
    return f"{messages}/{segments}" if messages or segments else ""


def _bar(row: pb.UsageRow, most: int) -> str:
    """Return how much a row is of the largest one."""
    eighths = round(8 * _BAR * max(row.accepted, row.submitted_segments) / most) if most else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
