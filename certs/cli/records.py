"""`smsgw ca list`, and what is on record of one certificate."""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path
from typing import Final

import click

from certs.ca.authority import Authority
from certs.ca.ledger import MAX_LISTED, IssuedRecord
from certs.ca.revocations import Revocation, revocation, revoked_since
from certs.cli.manners import DurationType, SpiffeIdType, dir_option, json_option, now, reporting, tell, text
from certs.errors import AuthorityError, Reason
from certs.spiffe_id import SpiffeId

_BAR: Final = 12  # columns of a whole life


def describe_issued(record: IssuedRecord, authority: Authority) -> dict[str, object]:
    """Return a record's fields for machines and people, and its revocation, where there is one."""
    revoked = revocation(authority.ledger, record.serial)
    return {
        "serial": record.serial,
        "spiffe_id": record.spiffe_id,
        "key_sha256": record.key_hash,
        "authority_key_id": record.authority_key_id,
        "asked_by": record.asked_by,
        "attested_by": record.attested_by,
        "issued_at": text(record.issued_at),
        "not_before": text(record.not_before),
        "expires_at": text(record.not_after),
        **({} if revoked is None else _why(revoked)),
    }


def _why(revoked: Revocation) -> dict[str, object]:
    return {
        "revoked_at": text(revoked.revoked_at),
        "revoked_for": revoked.code.name.lower().replace("_", "-"),
        "revoked_because": revoked.reason,
        "revoked_by": revoked.asked_by,
    }


def describe_revoked(revoked: Revocation) -> dict[str, object]:
    """Return a revocation's fields for machines."""
    return {
        "serial": revoked.serial,
        "spiffe_id": revoked.spiffe_id,
        "authority_key_id": revoked.authority_key_id,
        "expires_at": text(revoked.not_after),
        **_why(revoked),
    }


def revoked_line(revoked: Revocation) -> str:
    """Return a revocation as people read it."""
    return f"{text(revoked.not_after)}  {revoked.serial:<40}  {revoked.spiffe_id}"


def show_issued(authority: Authority, serial: str) -> IssuedRecord:
    """Return the record of a serial number, written as openssl or as we do. Raises AuthorityError."""
    record = authority.ledger.issued(serial.replace(":", "").lower().lstrip("0"))
    if record is None:
        raise AuthorityError(
            f"no certificate with the serial number {serial[:60]!a} is on record: `smsgw ca list` shows those that are",
            reason=Reason.NOT_RECORDED,
        )
    return record


@click.command("list")
@dir_option
@click.option("--expiring", type=DurationType(), help="Only those that end within this time, such as 10m.")
@click.option("--spiffe-id", type=SpiffeIdType(), help="Only this identity's.")
@click.option("--authority", "key_id", help="Only those that this authority signed: its key id, or how it begins.")
@click.option("--revoked", is_flag=True, help="Only those that are revoked, and why.")
@click.option("--limit", type=click.IntRange(1, MAX_LISTED), default=1000, show_default=True, help="At most so many.")
@json_option
@reporting
def list_issued(
    directory: Path,
    expiring: int | None,
    spiffe_id: SpiffeId | None,
    key_id: str | None,
    *,
    revoked: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List the certificates that were issued and have not ended, the first to end first.

    The bar is what is left of each life. Workloads renew at half of it: what is below a quarter is late.

    \b
    Examples:
      smsgw ca list --dir ca --expiring 10m
      smsgw ca list --dir ca --spiffe-id spiffe://example.org/billing --json
      smsgw ca list --dir ca --revoked
    """
    if revoked:
        if expiring is not None or spiffe_id is not None or key_id is not None:
            raise click.UsageError("--revoked goes with --limit only")
        _list_revoked(directory, limit, as_json=as_json)
        return
    with contextlib.closing(Authority.open(directory, damaged=True)) as authority:
        moment = now()
        found = authority.ledger.valid_at(
            moment,
            ending_by=None if expiring is None else moment + dt.timedelta(seconds=expiring),
            spiffe_id=None if spiffe_id is None else str(spiffe_id),
            authority_key_id=None if key_id is None else authority.find(key_id).key_id,
            limit=limit,
        )
        described = [describe_issued(record, authority) for record in found]
    lines = [_line(record, moment) for record in found]
    said = "\n".join(lines) or "none"
    if len(found) == limit:
        said += f"\n(the first {limit}; there may be more: --limit)"
    tell(as_json, said, certificates=described, limit=limit)


def _line(record: IssuedRecord, moment: dt.datetime) -> str:
    """Return a certificate as people read it: how much of its life is left as a bar, which is half at a renewal."""
    left = (record.not_after - moment).total_seconds()
    life = (record.not_after - record.issued_at).total_seconds()
    bar = "█" * max(1 if left > 0 else 0, round(_BAR * left / max(life, 1)))
    return f"{text(record.not_after)}  {bar:<{_BAR}}  {_span(left):>5}  {record.serial:<40}  {record.spiffe_id}"


def _span(seconds: float) -> str:
    """Return how long that is: 42s, 17m, 5h, 90d."""
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f}{name}"
    return f"{max(0.0, seconds):.0f}s"


def _list_revoked(directory: Path, limit: int, *, as_json: bool) -> None:
    with contextlib.closing(Authority.open(directory, damaged=True)) as authority:
        found = revoked_since(authority.ledger, now(), limit=limit)
    said = "\n".join(f"{revoked_line(one)}  {one.reason}" for one in found) or "none"
    tell(as_json, said, certificates=[describe_revoked(one) for one in found], limit=limit)
