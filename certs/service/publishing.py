"""The trust domain's bundle, published: what the bundle endpoints of `smsgw ca serve` serve, and as whom.

By https_web with a certificate of the web, in files that somebody else renews; by https_spiffe with an SVID of the
trust domain itself, renewed in memory. Both serve the same document, with the sequence of the authority's record.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from certs.ca.authority import Asked, Authority
from certs.ca.profile import LeafRequest
from certs.errors import CertificateRevoked, CertsError, SvidFileError
from certs.federation.answering import Page
from certs.federation.endpoint import Profile
from certs.federation.serving import BundleServer, server_context
from certs.pem import MAX_CERTIFICATE_BYTES, MAX_CHAIN, certificates
from certs.spiffe_id import SpiffeId
from certs.svid import X509Svid, read_bounded, read_secret

SPIFFE_PATH: Final = "/bundle-endpoint"
_ENDING_SOON: Final = dt.timedelta(days=7)
Clock = Callable[[], dt.datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What is wanted: addresses are host:port, None for not at all; the web's files belong to `web`."""

    path: str
    web: str | None
    certificate: Path | None
    key: Path | None
    spiffe: str | None


class WebCertificate:
    """Certificate and key in files that another program renews: looked at when `refresh` is called, and only then."""

    def __init__(self, cert_path: Path, key_path: Path) -> None:
        """Load the files. Raises SvidFileError."""
        self._paths = (cert_path, key_path)
        self._content = self._read()
        self.context, self.ends = self._load(self._content)
        self._trouble = ""
        self._warned: dt.datetime | None = None  # of which end

    def refresh(self, now: dt.datetime) -> bool:
        """Load the files again if they changed; says whether they did.

        Raises SvidFileError, once for each trouble: when they cannot be used, and then the old ones stay, and when the
        certificate ends within days.
        """
        try:
            content = self._read()
            if content != self._content:
                self.context, self.ends = self._load(content)
        except SvidFileError as refused:
            if str(refused) == self._trouble:
                return False
            self._trouble = str(refused)
            raise
        changed, self._content, self._trouble = content != self._content, content, ""
        if self.ends - now < _ENDING_SOON and self._warned != self.ends:
            self._warned = self.ends
            raise SvidFileError(f"{self._paths[0]}: the endpoint's certificate ends at {self.ends:%Y-%m-%dT%H:%M:%SZ}")
        return changed

    def _read(self) -> tuple[bytes, bytes]:
        cert_path, key_path = self._paths
        return read_bounded(cert_path, (MAX_CHAIN + 1) * MAX_CERTIFICATE_BYTES), read_secret(key_path)

    def _load(self, content: tuple[bytes, bytes]) -> tuple[ssl.SSLContext, dt.datetime]:
        chain_pem, key_pem = content
        what = str(self._paths[0])
        chain = certificates(chain_pem, at_most=MAX_CHAIN + 1, error=SvidFileError, what=what)
        if not chain:
            raise SvidFileError(f"{what}: holds no certificate")
        try:
            return server_context(chain_pem, key_pem), chain[0].not_valid_after_utc
        except SvidFileError as refused:
            raise SvidFileError(f"{what}, {self._paths[1]}: {refused}") from refused


class OwnIdentity:
    """The SVID of the https_spiffe endpoint, renewed in memory."""

    def __init__(self, authority: Authority, now: dt.datetime) -> None:
        """Issue the first. Raises CertsError."""
        self._authority = authority
        self._request = LeafRequest(spiffe_id=SpiffeId(authority.trust_domain, SPIFFE_PATH))
        self._svid, self.context = self._issue(now)

    @property
    def spiffe_id(self) -> SpiffeId:
        """Who it is."""
        return self._request.spiffe_id

    def refresh(self, now: dt.datetime) -> bool:
        """Renew it when that is due; says whether it was. Raises CertsError: then the old one stays."""
        if not self._is_due(now):
            return False
        self._svid, self.context = self._issue(now)
        return True

    def _is_due(self, now: dt.datetime) -> bool:
        issuing = self._authority.issuing
        if now >= self._svid.half_life or (issuing is not None and issuing.key_id != self._svid.authority_key_id):
            return True
        try:
            self._authority.ledger.refuse_revoked(self._svid.serial)
        except CertificateRevoked:
            return True
        return False

    def _issue(self, now: dt.datetime) -> tuple[X509Svid, ssl.SSLContext]:
        asked = Asked(by=str(self._request.spiffe_id), attested="itself")
        svid = self._authority.issue(self._request, now, asked)
        return svid, server_context(svid.chain_pem(), svid.key_pem())


class BundleEndpoints:
    """Both, from `start` to the end of the context. The authority is theirs alone, on the thread that calls."""

    def __init__(self, authority: Authority, wanted: Publication, clock: Clock) -> None:
        """Load the certificate, issue the SVID. Raises CertsError."""
        self._authority, self._wanted, self._clock = authority, wanted, clock
        authority.keep_jwt_keys(clock())  # the bundle has JWT keys before anybody asks
        self._web: tuple[WebCertificate, BundleServer] | None = None
        self._spiffe: tuple[OwnIdentity, BundleServer] | None = None
        if wanted.web is not None and wanted.certificate is not None and wanted.key is not None:
            files = WebCertificate(wanted.certificate, wanted.key)
            self._web = files, BundleServer(self._page(), files.context, clock)
        if wanted.spiffe is not None:
            own = OwnIdentity(authority, clock())
            self._spiffe = own, BundleServer(self._page(), own.context, clock)

    def _page(self) -> Page:
        return Page(path=self._wanted.path, document=self._authority.bundle.to_jwks())

    def start(self) -> tuple[int | None, int | None]:
        """Listen; returns the ports, of https_web and of https_spiffe. Raises AuthorityError."""
        web = None if self._web is None else self._web[1].start(str(self._wanted.web))
        spiffe = None if self._spiffe is None else self._spiffe[1].start(str(self._wanted.spiffe))
        return web, spiffe

    def refresh(self) -> None:
        """Take up what changed: authorities, certificate, SVID. Raises the first CertsError; serving goes on."""
        now = self._clock()
        failed: list[CertsError] = []
        with _collecting(failed):
            self._authority.keep_jwt_keys(now)
        with _collecting(failed):
            self._authority.refresh()
        page = self._page()
        if self._web is not None:
            files, server = self._web
            with _collecting(failed):
                files.refresh(now)
            server.context, server.page = files.context, page
        if self._spiffe is not None:
            own, server = self._spiffe
            with _collecting(failed):
                own.refresh(now)
            server.context, server.page = own.context, page
        if failed:
            raise failed[0]

    @property
    def requests(self) -> Mapping[tuple[str, str], int]:
        """Connections by profile and what became of them."""
        served = {Profile.WEB: self._web, Profile.SPIFFE: self._spiffe}
        return {
            (profile.value, outcome): count
            for profile, found in served.items()
            if found is not None
            for outcome, count in dict(found[1].answered).items()
        }

    def stop(self) -> None:
        """End both."""
        for found in (self._web, self._spiffe):
            if found is not None:
                found[1].stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@contextlib.contextmanager
def _collecting(failed: list[CertsError]) -> Iterator[None]:
    """Note what fails inside, so that the rest is done all the same."""
    try:
        yield
    except CertsError as refused:
        failed.append(refused)
