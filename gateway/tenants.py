"""Tenants: who owns an identity, and who owns an inbound number.

An identity belongs to the tenant whose prefix (a trust domain, or a trust domain and whole path segments) begins its
SPIFFE ID. There is no default tenant, and no two prefixes or numbers may overlap: construction refuses them, so that
every lookup has one answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from certs.errors import BadSpiffeId
from certs.spiffe_id import SpiffeId
from gateway.destinations import destination, is_e164

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SHORT_CODE = re.compile(r"[0-9]{3,8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantEntry:
    """One tenant as the configuration names it.

    `spiffe_ids` are prefixes: `spiffe://example.org/payments` covers itself and every id below it, and nothing that
    merely starts with the same letters. `inbound_numbers` are E.164 with the plus sign, or 3 to 8 digits.
    """

    name: str  # 1 to 63 letters, digits, dots, dashes and underscores
    spiffe_ids: tuple[str, ...]
    inbound_numbers: tuple[str, ...] = ()


class Tenants:
    """All tenants. Raises ValueError, saying which entries, when one is malformed or two overlap."""

    def __init__(self, entries: Sequence[TenantEntry]) -> None:
        _check_names(entry.name for entry in entries)
        self._by_prefix: dict[tuple[str, str], str] = {}
        self._by_number: dict[str, str] = {}
        for entry in entries:
            if not entry.spiffe_ids:
                raise ValueError(f"tenant {entry.name}: name at least one SPIFFE ID prefix, or nobody can act for it")
            for text in entry.spiffe_ids:
                self._add_prefix(entry.name, text)
            for number in entry.inbound_numbers:
                self._add_number(entry.name, number)
        for trust_domain, path in self._by_prefix:
            self._refuse_cover(trust_domain, path)

    def use(self, other: Tenants) -> None:
        """Be these tenants from now on: whoever holds this object sees them."""
        self._by_prefix, self._by_number = other._by_prefix, other._by_number

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all tenants, in the order of the configuration."""
        return tuple(dict.fromkeys(self._by_prefix.values()))

    def tenant_of(self, spiffe_id: SpiffeId) -> str | None:
        """Return the tenant of an identity, None when it belongs to none."""
        return self._covering(spiffe_id.trust_domain.name, spiffe_id.path)

    def _covering(self, trust_domain: str, path: str) -> str | None:
        """Return the tenant whose prefix is `path` or a path above it, by whole segments."""
        while True:
            found = self._by_prefix.get((trust_domain, path))
            if found is not None or not path:
                return found
            path = path.rpartition("/")[0]

    def owner_of_number(self, number: str) -> str | None:
        """Return the tenant that owns an inbound number, written with or without its plus sign; None: nobody does."""
        return self._by_number.get(number.removeprefix("+"))

    def _add_prefix(self, name: str, text: str) -> None:
        try:
            spiffe_id = SpiffeId.parse(text)
        except BadSpiffeId as error:
            raise ValueError(f"tenant {name}: {error}") from error
        key = (spiffe_id.trust_domain.name, spiffe_id.path)
        other = self._by_prefix.setdefault(key, name)
        if other != name:
            raise ValueError(f"tenants {other} and {name} both name {text}: an identity belongs to one tenant")

    def _refuse_cover(self, trust_domain: str, path: str) -> None:
        if not path:
            return
        name = self._by_prefix[trust_domain, path]
        other = self._covering(trust_domain, path.rpartition("/")[0])
        if other is not None:
            raise ValueError(
                f"spiffe://{trust_domain}{path} of tenant {name} lies below a prefix of tenant {other}: "
                "make the wider one narrower, or leave one out"
            )

    def _add_number(self, name: str, number: str) -> None:
        assigned = is_e164(number) and destination(number) is not None
        if not assigned and not _SHORT_CODE.fullmatch(number):
            raise ValueError(
                f"tenant {name}: {number!r} is no inbound number: write E.164 with its plus sign, or 3 to 8 digits"
            )
        # Carriers write numbers without the plus sign, so that the digits alone must tell two numbers apart.
        other = self._by_number.setdefault(number.removeprefix("+"), name)
        if other != name:
            raise ValueError(f"tenants {other} and {name} both name the inbound number {number}: it has one owner")


def _check_names(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no tenant name: use 1 to 63 of A-Z a-z 0-9 . _ -, a letter or digit first")
        if name in seen:
            raise ValueError(f"tenant {name} is there twice: put its identities and numbers into one entry")
        seen.add(name)
