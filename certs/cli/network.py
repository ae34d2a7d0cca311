"""The part of `smsgw ca serve` that serves nodes and administrators over the network: its options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click

from certs.cli.manners import FILE, SpiffeIdType
from certs.errors import CertsError
from certs.service.rates import CALLERS, JOINING, Rate, parse_rate
from certs.service.servicer import Rates
from certs.spiffe_id import SpiffeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Where and how nodes are served, who administers, and how often each may call."""

    entries: Path
    listen: str
    join: str
    name: str | None
    admins: tuple[SpiffeId, ...]
    rates: Rates


class RateType(click.ParamType[Rate]):
    """A rate such as 50/s:500."""

    name = "RATE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Rate:
        """Return the rate."""
        try:
            return value if isinstance(value, Rate) else parse_rate(str(value))
        except CertsError as refused:
            self.fail(str(refused), param, ctx)


_OPTIONS = (
    click.option("--entries", type=FILE, help="A YAML file of nodes and workloads: serve them over the network."),
    click.option("--listen", default="127.0.0.1:8600", show_default=True, help="Where nodes call, with their SVIDs."),
    click.option("--join-listen", default="127.0.0.1:8601", show_default=True, help="Where they join by token."),
    click.option("--name", help="The host name that nodes expect of this service; ca.TRUST_DOMAIN when left out."),
    click.option(
        "--admin",
        type=SpiffeIdType(),
        multiple=True,
        help="Who may revoke certificates: this SPIFFE ID and those below it; may be repeated. "
        "spiffe://TRUST_DOMAIN/admin when left out.",
    ),
    click.option(
        "--caller-rate",
        type=RateType(),
        default=str(CALLERS),
        show_default=True,
        help="Calls of each SPIFFE ID, per s, m or h, and after the colon how many at once.",
    ),
    click.option(
        "--join-rate",
        type=RateType(),
        default=str(JOINING),
        show_default=True,
        help="Attempts to join from each address, or /64 of IPv6.",
    ),
)


def network_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `network`: None when nodes are not to be served."""

    @wraps(command)
    def run(
        *,
        entries: Path | None,
        listen: str,
        join_listen: str,
        name: str | None,
        admin: tuple[SpiffeId, ...],
        caller_rate: Rate,
        join_rate: Rate,
        **others: Any,
    ) -> None:
        network = None
        if entries is not None:
            rates = Rates(callers=caller_rate, joining=join_rate)
            network = Network(
                entries=entries, listen=listen, join=join_listen, name=name, admins=tuple(admin), rates=rates
            )
        command(network=network, **others)

    found: Callable[..., None] = run
    for option in reversed(_OPTIONS):
        found = option(found)
    return found
