"""`smsgw ca events`: what happened at the authority, by whom and why."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from certs.ca.authority import Authority
from certs.ca.events import Event, What, events_after, newest, verify
from certs.cli.manners import dir_option, json_option, reporting, tell, text

_MOST = 100_000


@click.command("events")
@dir_option
@click.option("--after", type=click.IntRange(0), help="Only those after this number; left out: the newest.")
@click.option("--limit", type=click.IntRange(1, _MOST), default=100, show_default=True, help="At most so many.")
@click.option(
    "--what", "kinds", type=click.Choice([kind.value.lower().replace("_", "-") for kind in What]), multiple=True,
    help="Only this sort; may be repeated.",
)  # fmt: skip
@click.option("--verify", "check", is_flag=True, help="Check that none was changed, taken out or put in.")
@click.option("--expect", metavar="HASH", help="With --verify: a hash printed earlier, which has to be among them.")
@json_option
@reporting
def events(
    directory: Path,
    after: int | None,
    limit: int,
    kinds: tuple[str, ...],
    *,
    check: bool,
    expect: str | None,
    as_json: bool,
) -> None:
    """Show what happened at the authority: certificates issued, renewed and revoked, calls refused, authorities made,
    activated, tainted and revoked, join tokens made and used, keys for JWT-SVIDs made and removed.

    Each event was on disk before anybody was told of it, whichever command or service it came from. Each carries a hash
    over itself and the one before it: keep the one that --verify prints in another place, and give it to --expect.

    \b
    Examples:
      smsgw ca events --dir ca --limit 20
      smsgw ca events --dir ca --what call-refused --what certificate-revoked
      smsgw ca events --dir ca --after 41823 --limit 10000 --json
      smsgw ca events --dir ca --verify --expect 3f79bb7b...
    """
    if expect is not None and not check:
        raise click.UsageError("--expect goes with --verify")
    with contextlib.closing(Authority.open(directory, damaged=True)) as authority:
        if check:
            seq, digest = verify(authority.ledger, expect or "")
            tell(as_json, f"whole: {seq} events, the newest has the hash {digest}", events=seq, hash=digest)
            return
        wanted = [kind.upper().replace("-", "_") for kind in kinds]
        begin = max(0, newest(authority.ledger) - limit) if after is None and not wanted else after or 0
        found = events_after(authority.ledger, begin, limit=_MOST if wanted and after is None else limit, what=wanted)
    shown = found[-limit:]
    tell(as_json, "\n".join(map(_line, shown)) or "none", events=[describe_event(event) for event in shown])


def describe_event(event: Event) -> dict[str, object]:
    """Return an event's fields for machines."""
    return {
        "seq": event.seq,
        "at": text(event.at),
        "what": event.what,
        "reason": event.reason,
        "subject": event.subject,
        "serial": event.serial,
        "asked_by": event.asked_by,
        "detail": event.detail,
        "hash": event.digest,
    }


def _line(event: Event) -> str:
    words = (event.reason, event.subject, event.serial, f"by {event.asked_by}", event.detail)
    return f"{text(event.at)}  #{event.seq:<6}  {event.what:<19}  {'  '.join(word for word in words if word)}"
