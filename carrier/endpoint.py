"""Which binds make up a link: one transceiver, or a transmitter and a receiver that may be at different hosts."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from carrier.errors import PduError
from carrier.profile import CarrierProfile, CarrierTls
from carrier.smpp.messages import BindReceiver, BindTransceiver, BindTransmitter
from carrier.smpp.pdu import encode_body

BindPdu = BindTransceiver | BindTransmitter | BindReceiver


class Role(enum.Enum):
    """What a bind is for (SMPP 3.4 §2.2)."""

    TRANSCEIVER = "transceiver"
    TRANSMITTER = "transmitter"
    RECEIVER = "receiver"


_PDUS: dict[Role, type[BindTransceiver | BindTransmitter | BindReceiver]] = {
    Role.TRANSCEIVER: BindTransceiver,
    Role.TRANSMITTER: BindTransmitter,
    Role.RECEIVER: BindReceiver,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where one bind goes, and with what."""

    role: Role
    host: str
    port: int
    tls: CarrierTls | None  # None: plain text
    bind: BindPdu

    @property
    def where(self) -> str:
        """Host and port, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def expected_name(self) -> str:
        """The name that the carrier's certificate must hold."""
        return self.tls.server_name or self.host if self.tls is not None else self.host


def endpoints_of(profile: CarrierProfile) -> tuple[Endpoint, ...]:
    """Return the binds of a link, the one that submits first. Raises PduError if the credentials do not fit a bind."""
    if profile.binding.receiver is None:
        return (_endpoint(profile, Role.TRANSCEIVER),)
    return _endpoint(profile, Role.TRANSMITTER), _receiver(profile)


def _receiver(profile: CarrierProfile) -> Endpoint:
    """Whatever the profile does not say of the receiver is as for the transmitter."""
    own, tls = profile.binding.receiver, profile.tls
    if own is None:
        raise ValueError(f"carrier {profile.name} has no receiver of its own")
    if tls is not None and (own.server_name or (own.host and own.host != profile.host)):
        tls = replace(tls, server_name=own.server_name)  # another host has another name
    changed = replace(
        profile,
        host=own.host or profile.host,
        port=own.port or profile.port,
        system_id=own.system_id or profile.system_id,
        password=profile.password if own.password is None else own.password,
        tls=tls,
    )
    return _endpoint(changed, Role.RECEIVER)


def _endpoint(profile: CarrierProfile, role: Role) -> Endpoint:
    try:
        bind = _PDUS[role](
            system_id=profile.system_id.encode("ascii"),
            password=profile.password.reveal(),
            system_type=profile.system_type.encode("ascii"),
            interface_version=profile.binding.interface_version,
            addr_ton=profile.binding.addr_ton,
            addr_npi=profile.binding.addr_npi,
            address_range=profile.binding.address_range.encode("ascii"),
        )
    except UnicodeEncodeError:
        raise PduError(
            f"carrier {profile.name}: system_id, system_type and address_range are ASCII (SMPP 3.4 §3.1)"
        ) from None
    encode_body(bind)  # what does not fit is told here, not when the connection is up
    return Endpoint(role=role, host=profile.host, port=profile.port, tls=profile.tls, bind=bind)
