"""From a carrier as the fleet knows it to what operators are told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from carrier.contract import LinkStats
from carrier.meter import OTHERS
from carrier.smpp.constants import STATUS_NAMES
from gateway.pipeline.fleet import CarrierStatus
from gateway.pipeline.pipeline import LinkStatus
from smsgw.v1 import carrier_service_pb2 as pb


def to_carrier(status: CarrierStatus) -> pb.Carrier:
    """Return one carrier with its binds."""
    profile, hold, links = status.profile, status.hold, status.links
    mode = pb.CARRIER_MODE_OPEN
    if hold is not None:
        mode = pb.CARRIER_MODE_DRAINED if hold.drained else pb.CARRIER_MODE_PAUSED
    carrier = pb.Carrier(
        name=profile.name,
        mode=mode,
        insecure=profile.tls is None,
        address=f"{profile.host}:{profile.port}",
        binds=[_bind(link, stats) for link, stats in links],
        breaker=status.breaker,
        waiting=status.waiting,
    )
    if hold is not None:
        carrier.held_by, carrier.held_because = hold.by, hold.reason
        carrier.held_at.FromMicroseconds(hold.at)
    if status.oldest_due_at is not None:
        carrier.oldest_due_at.FromMicroseconds(status.oldest_due_at)
    if links:
        _add_numbers(carrier, [stats for _, stats in links])
    return carrier


def _add_numbers(carrier: pb.Carrier, stats: Sequence[LinkStats]) -> None:
    """Tell what the links count, all of them together."""
    carrier.submits_per_second = sum(each.submitted_per_s for each in stats)
    carrier.deliveries_per_second = sum(each.deliveries_per_s for each in stats)
    carrier.pace, carrier.slow_factor = stats[0].rate_pdus_s, stats[0].slow_factor  # those of the account
    carrier.in_doubt_total = sum(each.in_doubt for each in stats)
    carrier.answers.extend(_answers(stats))
    trips = [each.round_trip_s for each in stats if each.round_trip_s]
    if trips:
        carrier.round_trip.FromMicroseconds(round(1e6 * sum(trips) / len(trips)))


def _answers(stats: Sequence[LinkStats]) -> Iterator[pb.CarrierAnswer]:
    """Yield how often each answer came, the most frequent first."""
    counts: Counter[int] = Counter()
    for each in stats:
        counts.update(each.answered)
    for status, count in counts.most_common():
        if count:
            text = "other" if status == OTHERS else f"0x{status:08x}"
            yield pb.CarrierAnswer(status=text, name=STATUS_NAMES.get(status, ""), count=count)


def _bind(link: LinkStatus, stats: LinkStats) -> pb.CarrierBind:
    return pb.CarrierBind(
        name=link.name,
        state=link.state,
        why=link.why,
        window=link.window,
        unanswered=link.unanswered,
        staged=link.staged,
        in_doubt=link.slots,
        where=[bind.where for bind in stats.binds],
        secured=all(bind.secured for bind in stats.binds),
    )
