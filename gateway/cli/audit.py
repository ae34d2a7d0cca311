"""`smsgw audit`: what the node on this machine has decided and changed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click

from gateway.audit.codec import decode, split
from gateway.audit.fields import Malformed
from gateway.audit.records import KINDS, Kind, Record
from gateway.audit.rendering import as_json, moment, tenant_of, words
from gateway.audit.socket import SOCKET_NAME, AuditUnreadable, Commit, Page, read_page
from gateway.cli.audit_log import checkpoint
from gateway.cli.audit_prove import prove
from gateway.cli.audit_verify import verify
from gateway.cli.connection import directory_option
from gateway.cli.manners import Exit, Failure, Misused, Unreachable, emit, json_option, shown
from gateway.config.errors import ConfigError
from gateway.config.loader import load

_PAGE = 256  # commits asked for at once
_POLL_S = 0.25
_UNREADABLE = "UNREADABLE"
_KIND_NAMES = [kind.name.lower().replace("_", "-") for kind in Kind]

Read = Callable[[int, int], Page]  # (after, limit)


class Line(NamedTuple):
    """One record where it stands; `record` None: it cannot be read, and `why` says so."""

    commit: Commit
    number: int  # within the commit, from 0
    record: Record | None
    why: str


class Wanted(NamedTuple):
    """Which records are shown; empty: all."""

    kinds: frozenset[Kind]
    tenants: frozenset[str]

    def has(self, line: Line) -> bool:
        """Say whether a line is shown. One that cannot be read always is: what it hides is not known."""
        if line.record is None:
            return True
        kind_fits = not self.kinds or KINDS[type(line.record)] in self.kinds
        return kind_fits and (not self.tenants or tenant_of(line.record) in self.tenants)


@click.group(short_help="Show what was decided and what changed.")
def audit() -> None:
    """Read the audit: every decision about a caller, every change of a message, what the node did.

    It holds no recipient and no text. docs/audit.md explains the records.
    """


audit.add_command(checkpoint)
audit.add_command(prove)
audit.add_command(verify)


@audit.command(short_help="Print the newest records, and what follows.")
@click.option(
    "-n", "--number", type=click.IntRange(0, 1_000_000), default=20, show_default=True, help="Records to show."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with new ones, until interrupted.")
@click.option("--since", type=click.IntRange(1), metavar="SEQ", help="All from this commit on, instead of the newest.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(_KIND_NAMES), help="Only this kind; may be repeated.")
@click.option("--tenant", "tenants", multiple=True, help="Only of this tenant; may be repeated.")
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="The node's smsgw.yaml; left out: DIR/smsgw.yaml."
)
@directory_option
@json_option
def tail(
    number: int,
    follow: bool,
    since: int | None,
    kinds: tuple[str, ...],
    tenants: tuple[str, ...],
    config: Path | None,
    directory: Path,
    as_json: bool,
) -> None:
    """Print the newest records of the node on this machine, oldest first.

    Each line says when, in which commit, what. It ends with code 1 when a record cannot be read, and names it.

    \b
    Examples:
      smsgw audit tail
      smsgw audit tail -n 100 --kind decision --tenant payments
      smsgw audit tail --follow --json
      smsgw audit tail --since 1 --json > audit.jsonl
    """
    wanted = Wanted(frozenset(Kind[kind.upper().replace("-", "_")] for kind in kinds), frozenset(tenants))
    show = _show_json if as_json else _show_text
    unreadable = 0
    try:
        read = _reader(config or directory / "smsgw.yaml")
        for line in _lines(read, wanted, number=number, since=since, follow=follow):
            show(line)
            unreadable += line.record is None
    except AuditUnreadable as error:
        raise Unreachable(str(error), reason="NODE_UNREACHABLE") from error
    except KeyboardInterrupt:
        raise click.exceptions.Exit(Exit.INTERRUPTED) from None
    if unreadable:
        raise Failure(f"{unreadable} of the records could not be read", reason="RECORDS_UNREADABLE")


def _reader(config: Path) -> Read:
    try:
        path = load(config).node.data_dir / SOCKET_NAME
    except ConfigError as error:
        raise Misused(str(error), reason="BAD_CONFIGURATION") from error
    return lambda after, limit: read_page(path, after, limit)


def _lines(read: Read, wanted: Wanted, *, number: int, since: int | None, follow: bool) -> Iterator[Line]:
    """Yield the lines that were asked for, then, with `follow`, new ones for ever."""
    bounds = read(0, 0)
    if since is None:
        yield from newest(read, wanted, number, bounds)
        after = bounds.newest
    else:
        after = max(since - 1, bounds.before_oldest)
        for commit in _forward(read, after, bounds.newest):
            yield from filter(wanted.has, lines_of(commit))
            after = commit.seq
    while follow:
        page = read(after, _PAGE)
        for commit in page.commits:
            yield from filter(wanted.has, lines_of(commit))
            after = commit.seq
        if not page.commits:
            time.sleep(_POLL_S)


def newest(read: Read, wanted: Wanted, number: int, bounds: Page) -> list[Line]:
    """Return the newest `number` wanted lines up to `bounds.newest`, in order: reads backwards, a page at a time."""
    found: deque[Line] = deque()
    end = bounds.newest
    while end > bounds.before_oldest and len(found) < number:
        begin = max(end - _PAGE, bounds.before_oldest)
        lines = [line for commit in _forward(read, begin, end) for line in lines_of(commit) if wanted.has(line)]
        found.extendleft(reversed(lines))
        end = begin
    return list(found)[max(0, len(found) - number) :]


def _forward(read: Read, after: int, last: int) -> Iterator[Commit]:
    """Yield the commits above `after`, up to `last`; pages may be shorter than asked for."""
    while after < last:
        commits = read(after, min(_PAGE, last - after)).commits
        if not commits:
            raise AuditUnreadable(f"the audit has nothing behind commit {after}, and should go on to {last}")
        for commit in commits:
            if commit.seq <= last:
                yield commit
        after = commits[-1].seq


def lines_of(commit: Commit) -> list[Line]:
    """Return the records of a commit; where it cannot be read, one line that says why."""
    lines: list[Line] = []
    try:
        for number, octets in enumerate(split(commit.records)):
            try:
                lines.append(Line(commit, number, decode(octets), ""))
            except Malformed as error:
                lines.append(Line(commit, number, None, str(error)))
    except Malformed as error:
        lines.append(Line(commit, len(lines), None, str(error)))
    return lines


def _show_text(line: Line) -> None:
    record, place = line.record, f"#{line.commit.seq}.{line.number}"
    if record is None:
        text = f"{moment(line.commit.at)}  {place:<10}  {_UNREADABLE:<19}  {line.why}"
    else:
        kind = KINDS[type(record)].name
        text = f"{moment(record.at)}  {place:<10}  {kind:<19}  {'  '.join(words(record))}"
    click.echo(shown(text))


def _show_json(line: Line) -> None:
    place = {"seq": line.commit.seq, "number": line.number, "committed_at": moment(line.commit.at)}
    if line.record is None:
        emit({**place, "kind": _UNREADABLE, "why": line.why})
    else:
        emit({**place, **as_json(line.record)})
