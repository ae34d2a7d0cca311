"""From the section `revocation` of the configuration to a node's part in the deny list."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from certs.bundle import Trust
from certs.spiffe_id import SpiffeId
from certs.tls import SvidSource
from gateway.config.revocation_settings import RevocationSettings
from gateway.config.schema import Settings
from gateway.revocation.calls import RevokedCalls
from gateway.revocation.connecting import Connector
from gateway.revocation.dating import Dated, Dating
from gateway.revocation.entries import NEVER
from gateway.revocation.files import ListFiles
from gateway.revocation.following import Follower
from gateway.revocation.keys import read_public_keys, read_signing_key
from gateway.revocation.legacy import refuse_legacy
from gateway.revocation.publishing import Edition, Publisher
from gateway.revocation.queued import Messages, QueuedMessages, Site
from gateway.revocation.standing import Announcer, ListJournal, Standing
from gateway.revocation.status import ListStatus
from gateway.revocation.taking import Taking
from smsgw.client.server import Server
from visibility.alerts import AlertSink

_SECOND = 1_000_000


def build_standing(
    settings: Settings,
    *,
    calls: RevokedCalls,
    svid: SvidSource,
    trust: Trust,
    messages: Messages,
    journal: ListJournal,
    alerts: AlertSink,
    now: Callable[[], int],
) -> Standing:
    """Return the part. `now` gives microseconds since the Unix epoch. Raises DenyListError for keys and files."""
    files = ListFiles(settings.node.data_dir)
    revocation = settings.revocation
    reach = round(revocation.max_age_s * _SECOND)
    site = Site(
        node=settings.node.name, now=now, reach=reach, record=journal.note, publisher=revocation.publisher is None
    )
    queued = QueuedMessages(messages, files, site)
    if revocation.publisher is None:
        edition = edition_of(revocation, settings.node.data_dir)
        announcer = Announcer(ListStatus(calls, "", lambda: role.signed_at), queued, journal, alerts)
        role = Publisher(edition, calls, announcer, now, heartbeat_s=revocation.heartbeat_s)
        return Standing(role, queued, announcer, calls)
    refuse_legacy(settings.node.data_dir)
    taking = Taking(read_public_keys(revocation.public_key_files), files.memory().seen, reach)
    announcer = Announcer(ListStatus(calls, str(revocation.publisher), taking.refreshed_at), queued, journal, alerts)
    follower = Follower(
        taking=taking,
        files=files,
        calls=calls,
        connect=Connector(_publisher_of(revocation), svid, trust),
        listener=announcer,
        freshness=announcer,
        now=now,
        max_age_s=revocation.max_age_s,
        poll_s=revocation.poll_s,
    )
    return Standing(follower, queued, announcer, calls)


def edition_of(revocation: RevocationSettings, data_dir: Path) -> Edition:
    """Return a publisher's list in its file. Raises DenyListError for the key."""
    key, older = read_signing_key(revocation.signing_key_file), read_public_keys(revocation.public_key_files)
    return Edition(ListFiles(data_dir), key, round(revocation.max_age_s * _SECOND), older)


def dating_of(revocation: RevocationSettings) -> Dating:
    """Return how the authorities of each trust domain date certificates."""
    known = {
        issuer.trust_domain: Dated(
            round(issuer.backdating_s * _SECOND),
            NEVER if issuer.longest_svid_s is None else round(issuer.longest_svid_s * _SECOND),
        )
        for issuer in revocation.issuers
    }
    return lambda trust_domain: known.get(trust_domain, Dated())


def _publisher_of(revocation: RevocationSettings) -> Server:
    """Return where the publisher is; that both are there is a rule of the configuration."""
    if revocation.publisher is None or revocation.publisher_id is None:
        raise ValueError("this node follows nobody")
    spiffe_id = SpiffeId.parse(revocation.publisher_id)
    return Server(host=revocation.publisher.host, port=revocation.publisher.port, spiffe_id=spiffe_id)
