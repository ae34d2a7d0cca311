"""Callers read the usage of their own tenant, and operators that of all."""

from __future__ import annotations

import grpc
import pytest

from gateway.api.usage_service import UsageReportService, days_of
from gateway.errors import InvalidRequest
from gateway.states import State
from gateway.usage.caps import Cap, CapRules, Caps
from smsgw.v1 import message_service_pb2
from smsgw.v1 import usage_service_pb2 as pb
from tests.gateway.api.refusals import refusal
from tests.gateway.api.rig import NOW, TIMEOUT_S, Rig, message

CAPS = Caps(CapRules(caps=[Cap(tenant="shop", country="DE", spend_per_month=5_000_000)], currency="EUR"), NOW)
OWNER, STRANGER = "/payments/api", "/shop/web"
EVERY = tuple(value for value in pb.UsageDimension.values() if value)
YEAR = pb.UsageQuery(first_day="2027-01-01", last_day="2027-12-31")  # of the rig's clock


def query(*by: pb.UsageDimension.ValueType) -> pb.UsageQuery:
    """Return the question for all days that a test has."""
    asked = pb.UsageQuery(by=by)
    asked.MergeFrom(YEAR)
    return asked


async def sent(rig: Rig, path: str, count: int) -> list[str]:
    """Send messages; their ids."""
    request = message_service_pb2.SendMessagesRequest(messages=[message()] * count)
    response = await rig.client(path).SendMessages(request, timeout=TIMEOUT_S)
    return [result.accepted.message_id for result in response.results]


async def test_a_caller_sees_its_own_tenant(rig: Rig) -> None:
    """What two tenants use is told apart by who asks, and by nothing that the request says."""
    (first, *_) = await sent(rig, OWNER, 3)
    await sent(rig, STRANGER, 1)
    await rig.settle("payments", first, State.SUBMITTED)
    for path, accepted, submitted in ((OWNER, 3, 1), (STRANGER, 1, 0)):
        request = pb.GetUsageRequest(query=query())
        (row,) = (await rig.usage_client(path).GetUsage(request, timeout=TIMEOUT_S)).rows
        assert (row.accepted, row.submitted, row.tenant) == (accepted, submitted, "")


async def test_operators_see_all(rig: Rig) -> None:
    """A report tells tenants apart, and everything else that it is asked to."""
    await sent(rig, OWNER, 2)
    await sent(rig, STRANGER, 1)
    service = UsageReportService(rig.store, CAPS)
    request = pb.ReportUsageRequest(query=query(*EVERY))
    rows = (await service.ReportUsage(request, None)).rows  # type: ignore[arg-type]  # it has no use for it
    assert [(row.tenant, row.accepted, row.category, row.country) for row in rows] == [
        ("payments", 2, 1, "DE"),
        ("shop", 1, 1, "DE"),
    ]
    assert all(row.day.startswith("2027-") for row in rows)
    request.tenant = "shop"
    response = await service.ReportUsage(request, None)  # type: ignore[arg-type]  # as above
    (row,) = response.rows
    assert list(response.caps) == []  # nobody knows yet what is used of it
    (meter,) = CAPS.meters("shop")
    meter.known, meter.used = True, 1_250_000
    (cap,) = (await service.ReportUsage(request, None)).caps  # type: ignore[arg-type]  # as above
    assert (cap.tenant, cap.bound, cap.limit, cap.used) == ("shop", "spend_per_month", 5_000_000, 1_250_000)
    assert (cap.country, cap.currency, cap.last_day) == ("DE", "EUR", "2027-01-31")
    request.tenant = "payments"
    assert list((await service.ReportUsage(request, None)).caps) == []  # type: ignore[arg-type]  # as above
    assert (row.tenant, row.accepted) == ("shop", 1)


@pytest.mark.parametrize(
    ("first", "last", "reasons"),
    [
        ("", "2026-11-27", {"DAY_INVALID"}),
        ("2026-11-1", "2026-11-31", {"DAY_INVALID"}),
        ("20261101", "2026-11-27", {"DAY_INVALID"}),
        ("2026-11-28", "2026-11-27", {"DAYS_REVERSED"}),
        ("2026-01-01", "2027-01-02", {"TOO_MANY_DAYS"}),
    ],
)
def test_days_that_are_none(first: str, last: str, reasons: set[str]) -> None:
    """A period is two days of the calendar, in order, at most a leap year."""
    with pytest.raises(InvalidRequest) as refused:
        days_of(pb.UsageQuery(first_day=first, last_day=last))
    assert {violation.reason for violation in refused.value.violations} == reasons


def test_a_leap_year_is_a_period() -> None:
    """366 days are not too many; the numbers count from 1970."""
    assert days_of(pb.UsageQuery(first_day="1970-01-01", last_day="1971-01-01")) == (0, 365)


async def test_a_dimension_that_is_none(rig: Rig) -> None:
    """What sums cannot be told apart by is refused by its place."""
    asked = query(pb.USAGE_DIMENSION_DAY, pb.USAGE_DIMENSION_UNSPECIFIED)
    refused = await refusal(rig.usage_client(OWNER).GetUsage(pb.GetUsageRequest(query=asked), timeout=TIMEOUT_S))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in refused.violations] == ["query.by[1]"]


def test_no_request_of_a_caller_names_a_tenant() -> None:
    """The callers' request has no field for one: there is nothing to cross."""
    assert set(pb.GetUsageRequest.DESCRIPTOR.fields_by_name) == {"query"}
    assert set(pb.UsageQuery.DESCRIPTOR.fields_by_name) == {"first_day", "last_day", "by"}
