"""The settings of a carrier's account: what differs from carrier to carrier, each with the behaviour it stands for.

docs/carriers.md explains them to a network engineer; `gateway.config.carrier_profile` turns them into the profile that
the link works by.
"""

# ruff: noqa: RUF009 -- `setting` returns a dataclass field, which ruff only knows of `dataclasses.field`

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from carrier.ids import IdForm
from carrier.statuses import Action
from gateway.config.bind_settings import BindSettings
from gateway.config.carrier_kinds import SpkiPin, StatusActions, StatusCode, TlsVersion
from gateway.config.carrier_operation_settings import OperationSettings
from gateway.config.carrier_receipt_settings import ReceiptSettings
from gateway.config.carrier_submit_settings import AddressSettings, SubmitSettings
from gateway.config.carrier_text_settings import TextSettings
from gateway.config.carrier_tlv_settings import TlvSettings
from gateway.config.definitions import setting
from gateway.config.failover_settings import BreakerSettings
from gateway.config.kinds import (
    HOST_NAME,
    NAME,
    Choice,
    Duration,
    FileName,
    Flag,
    Integer,
    Items,
    Number,
    Section,
    Table,
    Text,
)
from gateway.config.secret_kinds import SecretFile


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierTlsSettings:
    """How the carrier is recognised. Chain and host name are always verified."""

    ca_file: Path | None = setting(
        FileName(), optional=True, doc="Root certificates, PEM. Left out: the system's.", example="pki/carrier-ca.pem"
    )
    server_name: str = setting(
        Text(meaning="a host name", pattern=HOST_NAME.pattern, high=253),
        default="",
        doc="The name in the carrier's certificate. Left out: the host.",
        example="smpp.carrier.example",
    )
    certificate_file: Path | None = setting(
        FileName(), optional=True, doc="Our client certificate with its chain, PEM, when the carrier asks for one."
    )
    key_file: Path | None = setting(SecretFile(), optional=True, doc="The private key of certificate_file, PEM.")
    min_version: TlsVersion = setting(
        Choice(TlsVersion), default="1.3", doc="The oldest TLS version taken. 1.2 for a carrier that has no 1.3."
    )
    spki_sha256: tuple[bytes, ...] = setting(
        Items(SpkiPin(), high=8),
        doc="Pins: the SHA-256 of the public key (SubjectPublicKeyInfo) in the carrier's certificate, base64 or hex. "
        "With several, one has to fit: name the next key before the carrier renews.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IdSettings:
    """How the carrier writes message ids. Both sides have to come to the same text, or no receipt finds its message."""

    response: IdForm = setting(
        Choice(IdForm),
        default="as_is",
        doc="In submit_sm_resp: as_is; decimal, a number whose spaces and leading zeros do not count; hex, a "
        "hexadecimal number that is compared with a decimal one; hex_bytes, the octets of the id in hexadecimal. What "
        "is not written so is compared as it is, and counted; 32 digits are a UUID, and no number.",
    )
    receipt: IdForm = setting(Choice(IdForm), default="as_is", doc="The same, for receipts.")
    ignore_case: bool = setting(Flag(), default="false", doc="Whether `abc` and `ABC` are one id.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierSettings:
    """One SMPP 3.4 account at a carrier."""

    name: str = setting(NAME, doc="How the carrier is called in events, logs and counters.", example="acme")
    host: str = setting(HOST_NAME, doc="Its SMSC: a host name or an IP address.", example="smpp.carrier.example")
    port: int = setting(Integer(low=1, high=65_535), default="3550", doc="Its port for SMPP over TLS.")
    system_id: str = setting(
        Text(meaning="a system_id of printable ASCII", pattern=r"[\x21-\x7e]+", low=1, high=15),
        doc="The account (SMPP 3.4 §5.2.1).",
        example="smsgw",
    )
    password_file: Path = setting(
        SecretFile(),
        doc="A file with the account's password; a line end is ignored. Nobody else may read it. SMPP 3.4 carries 8 "
        "characters (§5.2.2), and carriers give out longer ones: up to 64 are sent as they are.",
        example="keys/acme.password",
    )
    system_type: str = setting(
        Text(meaning="a system_type of printable ASCII", pattern=r"[\x20-\x7e]+", high=12),
        default="",
        doc="Only where the carrier asks for one (SMPP 3.4 §5.2.3).",
    )
    binds: int = setting(
        Integer(low=1, high=64, unit="binds"),
        default="1",
        doc="Links held in parallel, by all nodes on one database together; a pair counts as two binds at the carrier. "
        "Many carriers allow 2 or 4.",
    )
    window: int = setting(
        Integer(low=1, high=10_000, unit="PDUs"),
        default="50",
        doc="Unanswered submit_sm on one bind. Many carriers allow 10.",
    )
    rate: float = setting(
        Number(low=0.1, high=100_000, unit="PDUs/s"),
        default="500",
        doc="submit_sm a second, all binds together, of all nodes on one database.",
    )
    bind: BindSettings = setting(Section(BindSettings), doc="How a link binds.")
    max_inbound_rate: int = setting(
        Integer(low=1, high=1_000_000, unit="PDUs/s"),
        default="20000",
        doc="Receipts and inbound messages a second that one bind takes. What is beyond is answered with a temporary "
        "error (ESME_RX_T_APPN), and the carrier delivers it again.",
    )
    tls: CarrierTlsSettings = setting(Section(CarrierTlsSettings), doc="How the carrier is recognised.")
    insecure: bool = setting(
        Flag(), default="false", doc="Plain text instead of TLS. Accepted for a host on loopback only, for tests."
    )
    enquire_link_s: float = setting(
        Duration(low="1s", high="10m"),
        default="30s",
        doc="Silence after which the link is probed.",
    )
    response_timeout_s: float = setting(
        Duration(low="100ms", high="10m"),
        default="30s",
        doc="A submit_sm without an answer by then is in doubt (see pipeline.resend).",
    )
    connect_timeout_s: float = setting(
        Duration(low="100ms", high="5m"), default="10s", doc="For TCP, TLS and bind together."
    )
    reconnect_min_s: float = setting(
        Duration(low="10ms", high="10m"), default="500ms", doc="The first wait before connecting again; it doubles."
    )
    reconnect_max_s: float = setting(
        Duration(low="10ms", high="1h"), default="30s", doc="The longest wait before connecting again."
    )
    ids: IdSettings = setting(Section(IdSettings), doc="How the carrier writes message ids.")
    operations: OperationSettings = setting(
        Section(OperationSettings), doc="What the carrier is asked about messages that it has taken."
    )
    receipts: ReceiptSettings = setting(Section(ReceiptSettings), doc="How the carrier's receipts are taken.")
    text: TextSettings = setting(Section(TextSettings), doc="How texts are written for the carrier.")
    addresses: AddressSettings = setting(Section(AddressSettings), doc="How senders and recipients are written.")
    submit: SubmitSettings = setting(Section(SubmitSettings), doc="What else stands in every submit_sm.")
    tlvs: tuple[TlvSettings, ...] = setting(
        Items(Section(TlvSettings), high=100), doc="TLVs of the carrier's own that go into every submit_sm."
    )
    statuses: Mapping[int, Action] = setting(
        Table(key=StatusCode(), value=StatusActions(), high=1000),
        doc="What a status in the answer to a submit_sm means at this carrier, where that differs from the usual: "
        "retry or fail, and beside it fail_over (to another carrier), slow_down (this account), rebind.",
        example="ESME_RTHROTTLED: retry fail_over slow_down",
    )
    breaker: BreakerSettings = setting(
        Section(BreakerSettings), doc="When it is given nothing for a while, because it fails; see docs/routing.md."
    )
