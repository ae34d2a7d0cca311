"""smsgw.v1.UsageService and UsageReportService: what tenants have used. A caller sees its own tenant's, and no other.

The sums are the store's (`gateway.store.usage`); here days and dimensions are read, and rows written.
"""

# ruff: noqa: ARG002, N802 -- the names and parameters are gRPC's

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Protocol

from gateway.api.interceptors import Context, current_call
from gateway.errors import FieldViolation, InvalidRequest
from gateway.store.usage import By, Usage, UsageFilter
from gateway.usage.caps import Caps
from smsgw.v1 import usage_service_pb2 as pb
from smsgw.v1.usage_service_pb2_grpc import UsageReportServiceServicer, UsageServiceServicer

MAX_DAYS = 366
_EPOCH = dt.date(1970, 1, 1)
_DIMENSIONS = {
    pb.USAGE_DIMENSION_TENANT: "tenant",
    pb.USAGE_DIMENSION_DAY: "day",
    pb.USAGE_DIMENSION_CATEGORY: "category",
    pb.USAGE_DIMENSION_CARRIER: "carrier",
    pb.USAGE_DIMENSION_COUNTRY: "country",
}


class UsageReading(Protocol):
    """The part of the store that is needed here."""

    async def usage(self, where: UsageFilter, by: By) -> Sequence[Usage]:
        """Return sums."""


class UsageService(UsageServiceServicer):
    """The servicer for callers. Its methods run behind `gateway.api.serving` only."""

    def __init__(self, store: UsageReading, caps: Caps) -> None:
        self._store = store
        self._caps = caps

    async def GetUsage(self, request: pb.GetUsageRequest, context: Context) -> pb.GetUsageResponse:
        """Return what the caller's tenant has used."""
        tenant = current_call.get().caller.tenant
        rows = await _rows(self._store, request.query, tenant)
        return pb.GetUsageResponse(rows=rows, caps=_caps(self._caps, tenant))


class UsageReportService(UsageReportServiceServicer):
    """The servicer for operators. Its methods run behind `gateway.api.interceptors` only."""

    def __init__(self, store: UsageReading, caps: Caps) -> None:
        self._store = store
        self._caps = caps

    async def ReportUsage(self, request: pb.ReportUsageRequest, context: Context) -> pb.ReportUsageResponse:
        """Return what all tenants have used, or one; one that is configured no more has used what it has."""
        rows = await _rows(self._store, request.query, request.tenant)
        return pb.ReportUsageResponse(rows=rows, caps=_caps(self._caps, request.tenant))


async def _rows(store: UsageReading, query: pb.UsageQuery, tenant: str) -> list[pb.UsageRow]:
    """Return the sums that are asked for. Raises InvalidRequest and what the store raises."""
    found = await store.usage(UsageFilter(*days_of(query), tenant), _by(query))
    return [_row(row) for row in found]


def days_of(query: pb.UsageQuery) -> tuple[int, int]:
    """Return the first and the last day as numbers. Raises InvalidRequest for what is no day, and for too many."""
    violations = []
    days = []
    for field in ("first_day", "last_day"):
        try:
            text = getattr(query, field)
            day = dt.date.fromisoformat(text)
            if day.isoformat() != text:
                raise ValueError
            days.append((day - _EPOCH).days)
        except ValueError:
            violations.append(FieldViolation(f"query.{field}", "must be a day such as 2026-11-27", "DAY_INVALID"))
    if violations:
        raise InvalidRequest(tuple(violations))
    first, last = days
    if first > last:
        raise InvalidRequest((FieldViolation("query.last_day", "is before the first day", "DAYS_REVERSED"),))
    if last - first >= MAX_DAYS:
        raise InvalidRequest((FieldViolation("query", f"is longer than {MAX_DAYS} days", "TOO_MANY_DAYS"),))
    return first, last


def _by(query: pb.UsageQuery) -> By:
    """Return what is told apart. Raises InvalidRequest for what there is not."""
    return By(**dict.fromkeys(_names(query), True))


def _names(query: pb.UsageQuery) -> Iterator[str]:
    for at, dimension in enumerate(query.by):
        if dimension not in _DIMENSIONS:
            text = "must be tenant, day, category, carrier or country"
            raise InvalidRequest((FieldViolation(f"query.by[{at}]", text, "DIMENSION_INVALID"),))
        yield _DIMENSIONS[dimension]


def _row(row: Usage) -> pb.UsageRow:
    return pb.UsageRow(
        tenant=row.tenant,
        day="" if row.day < 0 else _day(row.day),
        category=row.category,  # type: ignore[arg-type]  # the stubs' enum is a class of its own
        carrier=row.carrier,
        country=row.country,
        accepted=row.accepted,
        accepted_segments=row.accepted_segments,
        submitted=row.submitted,
        submitted_segments=row.submitted_segments,
        delivered=row.delivered,
        delivered_segments=row.delivered_segments,
        failed=row.failed,
        failed_segments=row.failed_segments,
        spent_micros=row.spent,
        currency=row.currency,
    )


def _caps(caps: Caps, tenant: str) -> Iterator[pb.UsageCap]:
    """Yield the caps of a tenant, "" for all, of which it is known what is used."""
    for meter in caps.meters(tenant):
        if meter.known:
            yield pb.UsageCap(
                tenant=meter.cap.tenant,
                category=meter.cap.category,  # type: ignore[arg-type]  # the stubs' enum is a class of its own
                country=meter.cap.country,
                bound=meter.name,
                limit=meter.limit,
                used=meter.used,
                currency=caps.rules.currency if meter.spends else "",
                last_day=_day(meter.period.last),
            )


def _day(number: int) -> str:
    return (_EPOCH + dt.timedelta(days=number)).isoformat()
