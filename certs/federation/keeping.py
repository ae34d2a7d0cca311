"""What is held of other trust domains, on disk: so that a restart neither waits for an endpoint nor rolls back.

One file for each trust domain, replaced in one step. The bundle's authenticity is that of the folder: it belongs to the
node's own user, mode 0700.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from pathlib import Path
from typing import Final

from certs.bundle import MAX_BUNDLE_BYTES, Bundle
from certs.errors import BundleError, SvidFileError
from certs.federation.relationship import Held, Origin
from certs.spiffe_id import TrustDomain
from certs.svid import read_bounded, write_file

_FORMAT: Final = 1
_LONGEST_NAME: Final = 200  # file names end at 255 octets, and a trust domain may have as many


class Shelf:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path_of(self, trust_domain: TrustDomain) -> Path:
        """Return where the bundle of a trust domain is kept."""
        name = trust_domain.name
        if len(name) > _LONGEST_NAME:
            name = hashlib.sha256(name.encode()).hexdigest()
        return self._folder / f"bundle-{name}.json"

    def load(self, trust_domain: TrustDomain) -> Held | None:
        """Return what was kept, None for nothing. Raises BundleError, SvidFileError for what cannot be used."""
        path = self.path_of(trust_domain)
        if not path.exists():
            return None
        try:
            found = json.loads(read_bounded(path, 2 * MAX_BUNDLE_BYTES))
            if found["format"] != _FORMAT or found["trust_domain"] != trust_domain.name:
                raise BundleError(f"{path}: not the bundle of {trust_domain}, or of another version of smsgw")
            return Held(
                bundle=Bundle.from_jwks(trust_domain, json.dumps(found["bundle"]).encode()),
                confirmed_at=_moment(found["confirmed_at"]),
                origin=Origin(found["origin"]),
                floor=_floor(found["floor"]),
                bootstrap=str(found["bootstrap"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as refused:
            raise BundleError(f"{path}: cannot be read as a kept bundle: {type(refused).__name__}") from refused

    def save(self, held: Held) -> None:
        """Keep `held`; returns when it is on disk. Raises SvidFileError."""
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)  # what it lies in is somebody else's, and has to be there
        except OSError as refused:
            raise SvidFileError(f"{self._folder}: cannot be made: {refused.strerror}") from refused
        document = {
            "format": _FORMAT,
            "trust_domain": held.bundle.trust_domain.name,
            "confirmed_at": held.confirmed_at.isoformat(),
            "origin": held.origin.value,
            "floor": held.floor,
            "bootstrap": held.bootstrap,
            "bundle": json.loads(held.bundle.to_jwks()),
        }
        write_file(self.path_of(held.bundle.trust_domain), json.dumps(document, indent=1).encode(), mode=0o600)


def _moment(text: object) -> dt.datetime:
    found = dt.datetime.fromisoformat(str(text))
    if found.tzinfo is None:
        raise ValueError("a time without a zone")
    return found


def _floor(value: object) -> int | None:
    if value is None or type(value) is int:
        return value
    raise ValueError("a floor is a whole number")
