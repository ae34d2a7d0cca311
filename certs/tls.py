"""TLS credentials for gRPC, from SVIDs and bundles that may change while a server runs.

The server asks for a client certificate and trusts, at this first gate, every authority of every trust domain; who the
peer is, `certs.verify` says afterwards. gRPC calls the fetcher below on each handshake, on a thread of its own: it does
no input or output, and hands over a configuration that is built once per change.

A client. gRPC in Python checks a server by host name only, so a server's SVID carries one DNS name beside its SPIFFE
ID. When that is not the name in the target address, the channel needs `server_name_option(dns_name)`:

    channel = grpc.aio.secure_channel("10.0.0.7:8443", channel_credentials(svid, bundle),
                                      options=[server_name_option("gateway.example.org")])
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import grpc

from certs.bundle import MAX_BUNDLE_BYTES, Bundle, Trust, TrustBundles
from certs.errors import BundleError
from certs.spiffe_id import TrustDomain
from certs.svid import X509Svid, read_bounded
from certs.verify import PeerSvid, verify_peer

_Stamp = tuple[tuple[int, int, int], ...]


class SvidSource(Protocol):
    """Where a server takes its own SVID from."""

    @property
    def svid(self) -> X509Svid:
        """The SVID to present now."""

    @property
    def version(self) -> int:
        """A number that grows when `svid` changes."""


class FixedSvid:
    """An SVID that never changes."""

    version = 1

    def __init__(self, svid: X509Svid) -> None:
        self.svid = svid


def _stamp(*paths: Path) -> _Stamp:
    """Return what changes when a file is replaced or written: inode, time and size, through symbolic links."""
    found = [path.stat() for path in paths]
    return tuple((status.st_ino, status.st_mtime_ns, status.st_size) for status in found)


class SvidFiles:
    """An SVID in two files that another process renews: looks at them when `refresh` is called, and only then."""

    def __init__(self, cert_path: Path, key_path: Path) -> None:
        """Load the files. Raises SvidFileError or BadSvid."""
        self.cert_path = cert_path
        self._paths = (cert_path, key_path)
        self._stamp: _Stamp = ()
        self.svid = X509Svid.load(cert_path, key_path)
        self.version = 1

    def refresh(self) -> bool:
        """Load the files again if they changed; says whether there is a new SVID.

        Raises SvidFileError or BadSvid when the new files cannot be used: the old SVID stays, and the next call tries
        again. Whether it is valid now is not looked at (`check_own_svid` does).
        """
        try:
            stamp = _stamp(*self._paths)
        except OSError:
            stamp = ()  # a file is missing: load, for the error that says so
        if stamp and stamp == self._stamp:
            return False
        svid = X509Svid.load(*self._paths)
        self._stamp = stamp
        if svid.facts.fingerprint == self.svid.facts.fingerprint:
            return False
        self.svid, self.version = svid, self.version + 1
        return True


class BundleFiles:
    """Bundles in files, PEM or SPIFFE JSON, one for each trust domain; `bundles` is what they hold."""

    def __init__(self, paths: Mapping[TrustDomain, Path]) -> None:
        """Load the files. Raises BundleError or SvidFileError."""
        self._paths = dict(paths)
        self._contents = self._read()
        self.bundles = TrustBundles(self._parse(self._contents))

    def refresh(self) -> bool:
        """Load the files again; says whether one changed. After an error, the old bundles stay."""
        contents = self._read()
        if contents == self._contents:
            return False
        self.bundles.replace(self._parse(contents))
        self._contents = contents
        return True

    def _read(self) -> dict[TrustDomain, bytes]:
        return {domain: read_bounded(path, MAX_BUNDLE_BYTES) for domain, path in self._paths.items()}

    def _parse(self, contents: Mapping[TrustDomain, bytes]) -> list[Bundle]:
        return [self._bundle(domain, content) for domain, content in contents.items()]

    def _bundle(self, domain: TrustDomain, content: bytes) -> Bundle:
        try:
            return Bundle.parse(domain, content)
        except BundleError as refused:
            raise BundleError(f"{self._paths[domain]}: {refused}") from refused


def check_own_svid(svid: X509Svid, bundles: Trust, now: dt.datetime) -> PeerSvid:
    """Verify an SVID of our own as a peer would, so that a node with a wrong one says so before it serves.

    Raises IdentityRefused.
    """
    return verify_peer(svid.leaf_pem(), svid.intermediates_pem(), bundles, now)


def server_credentials(
    source: SvidSource,
    bundles: Trust,
    on_handshake: Callable[[], None] | None = None,
    *,
    clients: bool = True,
) -> grpc.ServerCredentials:
    """Return credentials for one server port that demands client certificates (mutual TLS 1.2 or 1.3).

    Without `clients` it asks for none: for a port where those come that have no SVID yet.

    A new SVID in `source`, and new bundles in `bundles`, count from the next handshake on; live connections stay. Make
    one for each port: gRPC is told of a change once, by the first port that asks. `on_handshake` is told of each
    handshake that begins, on a thread of gRPC's.
    """
    fetcher = _Fetcher(source, bundles, on_handshake)
    return grpc.dynamic_ssl_server_credentials(
        fetcher.first(),
        fetcher,  # type: ignore[arg-type]  # the stubs do not know that None means no change, as gRPC documents
        require_client_authentication=clients,
    )


class _Fetcher:
    """Hands gRPC a configuration after each change, and None otherwise: a new one costs a TLS context and all tickets.

    Called on gRPC's threads. It reads each version before what the version numbers, so that a change in between is
    seen by the next handshake.
    """

    def __init__(self, source: SvidSource, bundles: Trust, on_handshake: Callable[[], None] | None) -> None:
        self._source = source
        self._bundles = bundles
        self._on_handshake = on_handshake
        self._versions = (0, 0)

    def first(self) -> grpc.ServerCertificateConfiguration:
        """Return the configuration to start with."""
        self._versions = (self._source.version, self._bundles.version)
        svid = self._source.svid
        return grpc.ssl_server_certificate_configuration(
            [(svid.key_pem(), svid.chain_pem())], root_certificates=self._bundles.to_pem()
        )

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the configuration when it changed, else None."""
        if self._on_handshake is not None:
            self._on_handshake()
        if self._versions == (self._source.version, self._bundles.version):
            return None
        return self.first()


def channel_credentials(svid: X509Svid, bundle: Bundle) -> grpc.ChannelCredentials:
    """Return credentials for a client that presents `svid` and trusts servers of the bundle's trust domain.

    gRPC cannot exchange them in a live channel: make a new channel when the SVID is renewed.
    """
    return grpc.ssl_channel_credentials(
        root_certificates=bundle.to_pem(), private_key=svid.key_pem(), certificate_chain=svid.chain_pem()
    )


def server_name_option(dns_name: str) -> tuple[str, str]:
    """Return the channel option that expects `dns_name` in the server's certificate, whatever the target address says.

    This weakens nothing: the name is checked against the certificate, only not taken from the address.
    """
    return ("grpc.ssl_target_name_override", dns_name)
