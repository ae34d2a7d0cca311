"""The options of `smsgw ca serve` that publish the bundle to other trust domains."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from certs.cli.manners import FILE
from certs.errors import EndpointRefused
from certs.federation.endpoint import parse_url
from certs.service.publishing import Publication

DEFAULT_PATH: Final = "/bundle.json"

_OPTIONS: Final = (
    click.option(
        "--bundle-listen",
        "bundle_web",
        help="Publish the bundle here by https_web, with --bundle-cert and --bundle-key.",
    ),
    click.option("--bundle-cert", type=FILE, help="The endpoint's certificate of the web with its chain, PEM."),
    click.option("--bundle-key", type=FILE, help="Its private key, PEM, mode 0600."),
    click.option(
        "--bundle-spiffe-listen",
        "bundle_spiffe",
        help="Publish the bundle here by https_spiffe, as spiffe://TRUST_DOMAIN/bundle-endpoint.",
    ),
    click.option("--bundle-path", default=DEFAULT_PATH, show_default=True, help="Where it is below these addresses."),
)


def publishing_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options, and hand them over as one argument, `publication`: None when nothing is to be published."""

    @wraps(command)
    def run(
        *args: Any,
        bundle_web: str | None,
        bundle_cert: Path | None,
        bundle_key: Path | None,
        bundle_spiffe: str | None,
        bundle_path: str,
        **kwargs: Any,
    ) -> None:
        if (bundle_web is None) is not (bundle_cert is None) or (bundle_web is None) is not (bundle_key is None):
            raise click.UsageError("--bundle-listen, --bundle-cert and --bundle-key belong together")
        _check_path(bundle_path)
        publication = Publication(
            path=bundle_path, web=bundle_web, certificate=bundle_cert, key=bundle_key, spiffe=bundle_spiffe
        )
        wanted = bundle_web is not None or bundle_spiffe is not None
        command(*args, publication=publication if wanted else None, **kwargs)

    found: Callable[..., None] = run
    for option in reversed(_OPTIONS):
        found = option(found)
    return found


def _check_path(path: str) -> None:
    try:
        good = path.startswith("/") and parse_url(f"https://example.org{path}").target == path and "?" not in path
    except EndpointRefused:
        good = False
    if not good:
        raise click.BadParameter(f"{path!a} is no path of a URL, as {DEFAULT_PATH}", param_hint="--bundle-path")
