"""Keeps SVIDs on disk fresh: which are due, and issuing those. The loop around it is `smsgw ca serve`.

It holds no state of its own: each round reads the files, so that a file which was deleted, damaged or exchanged is
replaced like one whose time has come. It reads no clock and never waits.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from certs.ca.authority import Authority
from certs.ca.revocations import revocation
from certs.ca.wanted import WantedSvid
from certs.errors import CertsError, SecretPermissionsError
from certs.svid import X509Svid, publish

LOOK_AGAIN = dt.timedelta(seconds=30)  # how often files are looked at though none is due
RETRY = dt.timedelta(seconds=5)  # after a round in which one could not be issued


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """An SVID that was issued in this round, and why the one before it was not kept."""

    wanted: WantedSvid
    svid: X509Svid
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An SVID that is due and could not be issued or written."""

    wanted: WantedSvid
    error: CertsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round did, and when the next one is due: at `next_at` at the latest."""

    renewed: tuple[Renewed, ...]
    failed: tuple[Failed, ...]
    next_at: dt.datetime


def keep_fresh(authority: Authority, wanted: Sequence[WantedSvid], now: dt.datetime) -> Round:
    """Issue every SVID that is missing, wrong, or past half its life. One that fails does not stop the others."""
    renewed: list[Renewed] = []
    failed: list[Failed] = []
    next_at = now + LOOK_AGAIN
    for entry in wanted:
        try:
            due_at, why = _due(authority, entry, now)
            if why:
                svid = _renew(authority, entry, now)
                renewed.append(Renewed(wanted=entry, svid=svid, why=why))
                due_at = svid.half_life
            next_at = min(next_at, due_at)
        except CertsError as refused:
            failed.append(Failed(wanted=entry, error=refused))
            next_at = min(next_at, now + RETRY)
    return Round(renewed=tuple(renewed), failed=tuple(failed), next_at=next_at)


def _renew(authority: Authority, entry: WantedSvid, now: dt.datetime) -> X509Svid:
    svid = authority.issue(entry.request, now)
    publish(svid, entry.cert_path, entry.key_path)
    return svid


def _due(authority: Authority, entry: WantedSvid, now: dt.datetime) -> tuple[dt.datetime, str]:
    """Return when the SVID on disk is to be renewed, and why it is due already: "" when it is not."""
    if not entry.cert_path.exists() or not entry.key_path.exists():
        return now, "missing"
    try:
        svid = X509Svid.load(entry.cert_path, entry.key_path)
    except SecretPermissionsError:
        return now, "its key was readable by others"
    except CertsError:
        return now, "not readable"
    if svid.spiffe_id != entry.request.spiffe_id or svid.facts.dns_names != entry.request.dns_names:
        return now, "for other names"
    if revocation(authority.ledger, svid.serial) is not None:
        return now, "revoked"
    if svid.chain[1:] != (authority.intermediate,):
        return now, "from another intermediate"
    if (svid.facts.not_after - svid.facts.not_before).total_seconds() > entry.request.ttl_s + 120:
        return now, "for a longer time"
    if now >= svid.half_life:
        return now, "half its life is over"
    return svid.half_life, ""
