"""Revocation lists as documents that are served over plain HTTP: /KEY_ID.crl, in DER (RFC 2585 §4).

Plain HTTP is what is customary: lists are signed and not secret, and to verify a server by TLS, a list may be needed
first (RFC 5280 §8).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Mapping
from email.utils import format_datetime
from typing import Final

from certs.ca.crl_publisher import file_name
from certs.ca.crls import Crl
from certs.federation.answering import Page
from certs.federation.serving import PageServer

_DEADLINE_S: Final = 60.0  # of a connection: a list can have some megabytes


def pages_of(published: Mapping[str, Crl]) -> dict[str, Page]:
    """Return the lists as pages, by path. A cache may keep one for a minute, as each revocation makes another."""
    return {"/" + file_name(key_id): _page(file_name(key_id), crl) for key_id, crl in published.items()}


def _page(name: str, crl: Crl) -> Page:
    return Page(
        path="/" + name,
        document=crl.der,
        content_type="application/pkix-crl",
        headers=(
            ("Last-Modified", format_datetime(crl.made_at, usegmt=True)),
            ("Expires", format_datetime(crl.next_update, usegmt=True)),
        ),
        etag=hashlib.sha256(crl.der).hexdigest()[:32],
    )


def crl_server(published: Callable[[], Mapping[str, Crl]], clock: Callable[[], dt.datetime]) -> PageServer:
    """Return a server of what `published` returns; it is made into pages anew only when that is another mapping."""
    made: list[tuple[Mapping[str, Crl], dict[str, Page]]] = []

    def pages() -> Mapping[str, Page]:
        now = published()
        if not made or made[0][0] is not now:
            made[:] = [(now, pages_of(now))]
        return made[0][1]

    return PageServer(pages, None, clock, name="revocation-lists", deadline_s=_DEADLINE_S)
