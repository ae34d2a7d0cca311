"""The settings of content that callers seal themselves, see docs/sealed-content.md."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.config.definitions import setting
from gateway.config.kinds import FileName, Integer, Items, Pace, PerTime
from gateway.config.secret_kinds import SecretFile


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadSettings:
    """Content that callers have sealed, and that is opened at the carrier link."""

    key_files: tuple[Path, ...] = setting(
        Items(SecretFile(), high=16),
        reloadable=True,
        doc="The payload keys, the preferred one first: private JWKs, as `smsgw payload-key create` makes them. Their "
        "public halves are published to callers until the day that each names. Keep an older one for 14 days after "
        "that: messages that are sealed to it may still wait. Without any, sealed content is refused.",
    )
    public_key_files: tuple[Path, ...] = setting(
        Items(FileName(), high=16),
        reloadable=True,
        doc="The public halves of the payload keys, on a node that only accepts, in the same order: as "
        "`smsgw payload-key public` writes them. Nobody else may write to them. See docs/roles.md.",
    )
    rsa_openings_per_tenant: Pace = setting(
        PerTime(),
        default="50/s",
        reloadable=True,
        doc="How much content that is sealed by RSA is opened for each tenant; what is beyond it waits. Each takes a "
        "quarter of a millisecond of a core with 2048 bits, and more than one with 4096.",
    )
    rsa_openings_per_tenant_burst: int = setting(
        Integer(low=1, high=100_000, unit="at once"), default="100", reloadable=True, doc="How many of these at once."
    )
