"""A site's worth of policies for the benchmark: they read sender, country and time, and deny nothing that is sent.

A decision is remembered by what policies can read: with these, by the sender, the country and the minute as well.
"""

from __future__ import annotations

from pathlib import Path

from gateway.api.authorizing import call_actions
from gateway.policy.loader import load_policies

POLICIES = 60  # those of the default set among them
_FILE = "50-bench.cedar"
_COUNTRIES = ("AQ", "BV", "HM", "TF", "GS")  # nobody has a telephone there


def text(count: int) -> str:
    """Return so many policies."""
    return "\n".join(_policy(number) for number in range(count))


def _policy(number: int) -> str:
    country, hour = _COUNTRIES[number % len(_COUNTRIES)], number % 24
    return (
        f'@id("bench-{number}")\n'
        'forbid (principal, action in Action::"send", resource) when {\n'
        f'  context.country == "{country}" && context.sender == "BENCH-{number}" && context.minute >= {hour * 60}\n'
        "};\n"
    )


def write(folder: Path) -> None:
    """Put so many policies into a folder with the default ones that it has `POLICIES`."""
    missing = POLICIES - len(load_policies(folder, call_actions()).policies)
    file = folder / _FILE
    file.touch(mode=0o600)
    file.write_text(text(missing))
