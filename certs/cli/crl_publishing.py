"""The part of `smsgw ca serve` that publishes revocation lists: its options, and what it says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Final

import click

from certs.ca import crls
from certs.ca.authority import Authority
from certs.ca.crl_profile import MAX_LIFETIME, MIN_LIFETIME
from certs.ca.crl_publisher import CrlPublisher, Round
from certs.ca.states import Kind, State
from certs.cli.manners import DIRECTORY, DurationType, complain, now, tell, text, warn
from certs.errors import AuthorityError, CertsError
from certs.service.crl_http import crl_server

_AGAIN: Final = dt.timedelta(minutes=1)
_ROOT_SOON: Final = dt.timedelta(days=30)  # before the end of a root's list, it is said that the key is needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Crls:
    """Where and how lists are published."""

    directory: Path | None
    listen: str | None
    lifetime: dt.timedelta


def crl_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `crls`: what is to become of revocation lists, None when nothing is."""

    @click.option("--crl-dir", type=DIRECTORY, help="Keep revocation lists here: KEY_ID.crl (DER), crls.pem (all).")
    @click.option("--crl-listen", help="Serve them here over plain HTTP, at /KEY_ID.crl: HOST:PORT.")
    @click.option(
        "--crl-lifetime", type=DurationType(), default="4h", show_default=True,
        help="Their next update, 10m to 168h; a new one comes at half of it, and with each revocation.",
    )  # fmt: skip
    @wraps(command)
    def run(*, crl_dir: Path | None, crl_listen: str | None, crl_lifetime: int, **others: object) -> None:
        wanted = crl_dir is not None or crl_listen is not None
        lifetime = dt.timedelta(seconds=crl_lifetime)
        if not MIN_LIFETIME <= lifetime <= MAX_LIFETIME:
            raise click.BadParameter("10m to 168h", param_hint="--crl-lifetime")
        found = Crls(directory=crl_dir, listen=crl_listen, lifetime=lifetime) if wanted else None
        command(crls=found, **others)

    return run


class Publishing:
    """Publishes in rounds, and says what happens. Without a publisher it does nothing."""

    def __init__(self, authority: Authority, publisher: CrlPublisher | None, *, as_json: bool) -> None:
        self._authority, self._publisher, self._as_json = authority, publisher, as_json
        self._warned: set[str] = set()
        self._told: dict[str, dt.datetime] = {}
        self.port: int | None = None

    def refresh(self) -> None:
        """Do a round: what cannot be done is told, and tried again."""
        if self._publisher is None:
            return
        try:
            self.told(self._publisher.refresh(now()))
        except CertsError as refused:
            self._complain(refused)

    def told(self, done: Round) -> None:
        """Say what a round did."""
        for made in done.made:
            crl = made.crl
            said = f"revocation list {crl.number} of {crl.key_id} until {text(crl.next_update)} ({made.why})"
            tell(self._as_json, said, event="crl", key_id=crl.key_id, number=crl.number, why=made.why,
                 revoked=len(crl.serials), next_update=text(crl.next_update))  # fmt: skip
        for error in done.failed:
            self._complain(error)
        if done.made:
            self._warn_of_roots()

    def _complain(self, error: CertsError) -> None:
        """Say what failed, once a minute while it goes on failing."""
        moment = now()
        self._told = {said: at for said, at in self._told.items() if moment - at < _AGAIN}
        if str(error) not in self._told:
            self._told[str(error)] = moment
            complain(error)

    def _warn_of_roots(self) -> None:
        """Say, once for each, which root's list is missing or ends soon: its key is needed for another."""
        for root in self._authority.records:
            if root.kind is not Kind.ROOT or root.state is State.REVOKED or root.key_id in self._warned:
                continue
            crl = crls.current(self._authority.ledger, root.key_id)
            if crl is None or crl.next_update - now() < _ROOT_SOON:
                ends = "is missing" if crl is None else f"ends at {text(crl.next_update)}"
                warn(f"root {root.key_id}'s revocation list {ends}: `smsgw ca crl --root-dir`")
                self._warned.add(root.key_id)


@contextmanager
def publishing(authority: Authority, wanted: Crls | None, *, as_json: bool) -> Iterator[Publishing]:
    """Publish lists until the end of the block, after a first round. Raises CertsError when that fails."""
    if wanted is None:
        yield Publishing(authority, None, as_json=as_json)
        return
    publisher = CrlPublisher(authority, wanted.directory, wanted.lifetime)
    done = Publishing(authority, publisher, as_json=as_json)
    first = publisher.refresh(now())
    done.told(first)
    if first.failed:
        raise AuthorityError("the revocation lists could not be published: see above", reason=first.failed[0].reason)
    if wanted.listen is None:
        yield done
        return
    server = crl_server(lambda: publisher.published, now)
    done.port = server.start(wanted.listen)
    try:
        yield done
    finally:
        server.stop()
