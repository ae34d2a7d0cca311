"""What the network engineer says about one carrier: plain data, validated where the configuration is read."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from carrier.addresses import PLAIN_ADDRESSES, AddressProfile
from carrier.ids import AS_WRITTEN, IdForms
from carrier.operation_rules import USUAL_OPERATIONS, OperationRules
from carrier.receipt_rules import USUAL, ReceiptRules
from carrier.statuses import DEFAULTS, Action
from carrier.submit_rules import PLAIN_SUBMIT, SubmitRules
from carrier.text.profile import PLAIN_TEXT, TextProfile
from carrier.tlvs import TlvRule


class Secret:
    """Octets that never show: redacted repr, compared in constant time."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def reveal(self) -> bytes:
        """Return the octets, for the one place that puts them on the wire."""
        return self._octets

    def __repr__(self) -> str:
        return "Secret(**)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._octets, other._octets)

    __hash__ = None  # type: ignore[assignment]  # a secret is no key of anything


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierTls:
    """How the carrier is recognised: its chain and its host name, always."""

    ca_file: Path | None = None  # PEM; None: the system's trust store
    server_name: str = ""  # the name in its certificate; empty: the host
    certificate_file: Path | None = None  # our client certificate chain, PEM
    key_file: Path | None = None
    tls_1_2: bool = False  # take TLS 1.2 too, from a carrier that has no 1.3
    spki_sha256: tuple[bytes, ...] = ()  # pins: one of these is the SHA-256 of the certificate's public key; empty: any


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """What differs for the receiver of a pair; what is left empty is as for the transmitter."""

    host: str = ""
    port: int = 0
    server_name: str = ""  # empty: the profile's at the same host, otherwise the receiver's host
    system_id: str = ""
    password: Secret | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """How a link binds (SMPP 3.4 §4.1, §5.2.4 to §5.2.7)."""

    receiver: Receiver | None = None  # None: one transceiver; otherwise a pair of transmitter and receiver
    interface_version: int = 0x34  # what we state
    assumed_version: int = 0x33  # of a carrier that states none
    addr_ton: int = 0
    addr_npi: int = 0
    address_range: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierProfile:
    """One carrier account. Times in seconds, rates and windows in PDUs."""

    name: str
    host: str
    port: int
    system_id: str
    password: Secret = field(repr=False)
    system_type: str = ""
    tls: CarrierTls | None = CarrierTls()  # None: plain text; only reached through `insecure: true`
    binding: Binding = Binding()
    binds: int = 1  # links held in parallel: a pair is two binds at the carrier
    window: int = 50  # unanswered submit_sm a bind, at most
    rate_pdus_s: float = 500.0  # shared by the binds
    enquire_link_s: float = 30.0  # idle time before an enquire_link; dead after two unanswered ones
    response_timeout_s: float = 30.0  # no submit_sm_resp by then: the outcome is unknown
    connect_timeout_s: float = 10.0  # TCP, TLS and bind together
    reconnect_min_s: float = 0.5
    reconnect_max_s: float = 30.0
    max_inbound_rate: int = 20_000  # deliveries a second that one bind takes; more are to be delivered again
    ids: IdForms = AS_WRITTEN
    receipts: ReceiptRules = USUAL
    text: TextProfile = PLAIN_TEXT
    operations: OperationRules = USUAL_OPERATIONS
    addresses: AddressProfile = PLAIN_ADDRESSES
    submit: SubmitRules = PLAIN_SUBMIT
    tlvs: tuple[TlvRule, ...] = ()  # of the carrier's own, for submit_sm
    statuses: Mapping[int, Action] = field(default_factory=lambda: DEFAULTS)  # see `carrier.statuses`

    def binds_like(self, other: CarrierProfile) -> bool:
        """Say whether a link of this profile does all that one of `other` would: the two differ in nothing but in how
        messages and receipts are written. Rules of operations count, since a link remembers what the carrier refused.
        """
        return other == replace(
            self,
            ids=other.ids,
            receipts=other.receipts,
            text=other.text,
            addresses=other.addresses,
            submit=other.submit,
            tlvs=other.tlvs,
        )
