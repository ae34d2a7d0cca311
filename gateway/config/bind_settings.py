"""The settings of how a link binds to its carrier: one transceiver, or a transmitter and a receiver."""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

from gateway.config.definitions import setting
from gateway.config.kinds import HOST_NAME, Choice, Integer, Section, Text
from gateway.config.secret_kinds import SecretFile

SYSTEM_ID = Text(meaning="a system_id of printable ASCII", pattern=r"[\x21-\x7e]+", high=15)


class BindMode(enum.StrEnum):
    """Which binds make up a link."""

    TRANSCEIVER = "transceiver"
    PAIR = "pair"


class Version(enum.StrEnum):
    """A version of SMPP."""

    V33 = "3.3"
    V34 = "3.4"
    V50 = "5.0"

    @property
    def number(self) -> int:
        """Return it as on the wire (SMPP 3.4 §5.2.4)."""
        major, _, minor = self.value.partition(".")
        return int(major) << 4 | int(minor)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings:
    """What differs for the receiver of a pair. Everything left out is as for the transmitter."""

    host: str | None = setting(HOST_NAME, optional=True, doc="Its host, where that is another one.")
    port: int | None = setting(Integer(low=1, high=65_535), optional=True, doc="Its port.")
    server_name: str = setting(
        Text(meaning="a host name", pattern=HOST_NAME.pattern, high=253),
        default="",
        doc="The name in its certificate. Left out: tls.server_name at the same host, otherwise its host.",
    )
    system_id: str = setting(SYSTEM_ID, default="", doc="Its account.")
    password_file: Path | None = setting(SecretFile(), optional=True, doc="A file with its password.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BindSettings:
    """How a link binds (SMPP 3.4 §4.1). What is set is what is done: nothing falls back to another mode."""

    mode: BindMode = setting(
        Choice(BindMode),
        default="transceiver",
        doc="A transceiver sends and receives; a pair is a transmitter and a receiver, two binds at the carrier.",
    )
    receiver: ReceiverSettings = setting(
        Section(ReceiverSettings), doc="The receiver of a pair, where it differs from the transmitter."
    )
    interface_version: Version = setting(
        Choice(Version), default="3.4", doc="The version of SMPP that we state (SMPP 3.4 §5.2.4)."
    )
    assumed_version: Version = setting(
        Choice(Version),
        default="3.3",
        doc="The version of a carrier whose bind response states none. To one of 3.3 no data_sm is sent.",
    )
    addr_ton: int = setting(Integer(low=0, high=255), default="0", doc="Of the addresses served (SMPP 3.4 §5.2.5).")
    addr_npi: int = setting(Integer(low=0, high=255), default="0", doc="Of the addresses served (SMPP 3.4 §5.2.6).")
    address_range: str = setting(
        Text(meaning="an address range of printable ASCII", pattern=r"[\x20-\x7e]+", high=40),
        default="",
        doc="The addresses whose messages we receive, where the carrier asks for it (SMPP 3.4 §5.2.7).",
    )
