"""Keeps what the agent holds fresh: joins, renews itself, asks what is registered, and has every SVID issued in time.

A round does all that is due and replaces the holdings as a whole. When the authority cannot be reached, what is held
stays, and whoever asks is told how long it lasts. When the authority says that this node is registered no more, that it
does not believe its SVID, or that this is revoked, the node holds nothing from then on; a new join token makes it a
node again. A workload's SVID that is revoked is served no more, and another one is asked for at once.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import grpc

from certs.agent import link as calls
from certs.agent.holdings import Holder, Holdings
from certs.agent.link import Authorities, Link, Told
from certs.bundle import Bundle, TrustBundles
from certs.errors import BundleError, CertsError, NotValidNow, Reason, SvidFileError
from certs.service.status import reason_of, retry_after_s
from certs.svid import X509Svid, publish, read_bounded, read_secret, write_file
from certs.tls import check_own_svid

RETRY_S: Final = 2.0
LONGEST_WAIT_S: Final = 60.0  # for an authority that asks to be called less often
_LOG = logging.getLogger(__name__)
_CAST_OUT: Final = frozenset({Reason.NOT_REGISTERED.value, Reason.NOT_RECORDED.value, Reason.REVOKED.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What the agent keeps across restarts: its own SVID, and the bundle it was told last."""

    state: Path
    bundle: Path
    token: Path | None

    @property
    def svid(self) -> tuple[Path, Path]:
        """Certificate and key of the node."""
        return self.state / "node.pem", self.state / "node.key"

    def first_bundle(self, where: Authorities) -> Bundle:
        """Return the bundle told last, else the one that was given. Raises BundleError, SvidFileError."""
        kept = self.state / "bundle.json"
        if kept.exists():
            return Bundle.from_jwks(where.trust_domain, read_bounded(kept, 1024 * 1024))
        return Bundle.from_pem(where.trust_domain, read_bounded(self.bundle, 1024 * 1024))


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a round came to.

    Attributes:
        next_in_s: when the next one is due.
        error: why the authority was not reached or refused; empty when all was done.
        lasts_until: with an error, when the first of the SVIDs held ends; None when none is held.
    """

    next_in_s: float
    error: str = ""
    lasts_until: dt.datetime | None = None


class Keeper:
    """The agent's side of the authority. One task calls `round`, and nobody else while it runs."""

    def __init__(self, where: Authorities, files: Files, clock: Callable[[], dt.datetime]) -> None:
        """Raises BundleError, SvidFileError when there is no bundle to begin with."""
        self._where, self._files, self._clock = where, files, clock
        self.holder = Holder(Holdings(bundle=files.first_bundle(where)))
        self.link: Link | None = None

    async def close(self) -> None:
        """End the connection."""
        if self.link is not None:
            await self.link.close()

    async def issue_jwt(self, spiffe_id: str, audiences: Sequence[str]) -> tuple[str, dt.datetime]:
        """Return a workload's JWT-SVID, and its end. Raises grpc.RpcError, SvidFileError."""
        if self.link is None:
            raise SvidFileError("there is no connection to the authority")
        return await self.link.issue_jwt(spiffe_id, audiences)

    async def round(self) -> Round:
        """Do what is due."""
        try:
            link = await self._linked()
            told = await self._told(link)
            failed, wait_s = await self._issue(told)
        except grpc.RpcError as refused:
            return self._away(refused)
        except CertsError as refused:
            return self._ended(str(refused), RETRY_S)
        return self._ended(failed, max(RETRY_S, wait_s)) if failed else Round(next_in_s=told.refresh_after_s)

    def _away(self, refused: grpc.RpcError) -> Round:
        reason = reason_of(refused)
        if reason in _CAST_OUT and self.holder.now != (nothing := Holdings(bundle=self.holder.now.bundle, heard=True)):
            self.holder.replace(nothing)
        details = refused.details() if isinstance(refused, grpc.Call | grpc.aio.AioRpcError) else ""
        code = refused.code().name if isinstance(refused, grpc.Call | grpc.aio.AioRpcError) else "UNKNOWN"
        wait_s = min(retry_after_s(refused), LONGEST_WAIT_S)
        return self._ended(f"{code}: {details}" + (f" [{reason}]" if reason else ""), max(RETRY_S, wait_s))

    def _ended(self, error: str, next_in_s: float) -> Round:
        return Round(next_in_s=next_in_s, error=error, lasts_until=self.holder.now.lasts_until(self._clock()))

    async def _linked(self) -> Link:
        """Return a connection with an SVID that is not due: kept, on disk, renewed, or joined for."""
        now, token = self._clock(), self._files.token
        if self.link is None or (token is not None and token.exists()):
            svid = await self._first(self._on_disk(now))
            if self.link is None or svid != self.link.svid:
                await self._connect(svid)
        if self.link is not None and now >= self.link.svid.half_life:
            await self._renew(self.link)
        if self.link is None:
            raise SvidFileError("there is no connection to the authority")
        return self.link

    async def _first(self, kept: X509Svid | None) -> X509Svid:
        """Return an SVID by a token, where there is one, else the one that was kept."""
        try:
            return await self._joined()
        except (grpc.RpcError, SvidFileError) as refused:
            if kept is None:
                raise
            if not isinstance(refused, SvidFileError):
                _LOG.warning("the join token was refused", extra={"reason": reason_of(refused)})
            return kept

    def _on_disk(self, now: dt.datetime) -> X509Svid | None:
        """Return the node's SVID of an earlier run, None when there is none that the authority would believe."""
        cert_path, key_path = self._files.svid
        if not cert_path.exists():
            return None
        svid = X509Svid.load(cert_path, key_path)
        try:
            check_own_svid(svid, TrustBundles([self.holder.now.bundle]), now)
        except NotValidNow:
            return None
        return svid

    async def _joined(self) -> X509Svid:
        """Exchange the token, which is deleted once it is used up. Raises SvidFileError when there is none."""
        token = self._files.token
        if token is None or not token.exists():
            raise SvidFileError(
                "this node has no valid SVID and no join token: make one with `smsgw ca token`, and name its file with "
                "--join-token-file"
            )
        secret = read_secret(token).decode(errors="replace").strip()
        svid = await calls.join(self._where, self.holder.now.bundle, secret)
        self._keep(svid)
        token.unlink(missing_ok=True)
        return svid

    def _keep(self, svid: X509Svid) -> None:
        """Verify an SVID as peers will, and write it. Raises IdentityRefused, SvidFileError."""
        check_own_svid(svid, TrustBundles([self.holder.now.bundle]), self._clock())
        publish(svid, *self._files.svid)

    async def _connect(self, svid: X509Svid) -> None:
        old, self.link = self.link, Link(self._where, svid, self.holder.now.bundle)
        if old is not None:
            await old.close()

    async def _renew(self, link: Link) -> None:
        if self._clock() >= link.svid.expires_at:
            await self.close()
            self.link = None
            raise SvidFileError("this node's SVID has ended: make a join token with `smsgw ca token`")
        svid = await link.renew()
        self._keep(svid)
        await self._connect(svid)

    async def _told(self, link: Link) -> Told:
        """Return what the node is to serve; below a tainted authority it renews itself first."""
        try:
            told = await link.sync()
        except grpc.RpcError as refused:
            if reason_of(refused) != Reason.AUTHORITY_STATE.value:
                raise
            await self._renew(link)
            if self.link is None:
                raise
            told = await self.link.sync()
        if told.authority_key_id not in {"", (self.link or link).svid.authority_key_id}:
            await self._renew(self.link or link)
        if told.bundle != self.holder.now.bundle:
            await self._trust(told.bundle)
        return told

    async def _trust(self, bundle: Bundle) -> None:
        """Keep another bundle, and connect anew, so that it counts for the authority's service too."""
        if not bundle.authorities:
            raise BundleError("the authority sent an empty bundle: it is not taken over")
        write_file(self._files.state / "bundle.json", bundle.to_jwks(), mode=0o644)
        before = self.holder.now
        self.holder.replace(replace(before, bundle=bundle))
        if self.link is not None:
            await self._connect(self.link.svid)

    async def _issue(self, told: Told) -> tuple[str, float]:
        """Have every SVID issued that is missing, due or of another authority.

        Returns what failed, empty when nothing did, and for how many seconds the authority asks to wait. Once it
        says that this node calls too often, the rest waits for the next round.
        """
        before, now = self.holder.now, self._clock()
        svids, failed, wait_s = {}, "", 0.0
        for spiffe_id in {entry.spiffe_id for entry in told.entries}:
            held = before.svids.get(spiffe_id)
            if held is not None and held.serial in told.revoked:
                held = None  # not even while another cannot be issued
            if held is not None and now < held.half_life and told.authority_key_id in {"", held.authority_key_id}:
                svids[spiffe_id] = held
                continue
            try:
                if not wait_s:
                    svids[spiffe_id] = await self._issued(spiffe_id)
                elif held is not None:
                    svids[spiffe_id] = held
            except (grpc.RpcError, CertsError) as refused:
                failed = f"{spiffe_id}: {refused}" if isinstance(refused, CertsError) else f"{spiffe_id}: not issued"
                if isinstance(refused, grpc.RpcError):
                    wait_s = min(retry_after_s(refused), LONGEST_WAIT_S)
                if held is not None:
                    svids[spiffe_id] = held
        after = Holdings(bundle=before.bundle, entries=told.entries, svids=svids, heard=True, federated=told.federated)
        if after != before:
            self.holder.replace(after)
        return failed, wait_s

    async def _issued(self, spiffe_id: str) -> X509Svid:
        if self.link is None:
            raise SvidFileError("there is no connection to the authority")
        svid = await self.link.issue(spiffe_id)
        check_own_svid(svid, TrustBundles([self.holder.now.bundle]), self._clock())
        if str(svid.spiffe_id) != spiffe_id:
            raise SvidFileError(f"the authority issued {svid.spiffe_id} instead")
        return svid
