"""The rules that concern more than one setting of a carrier. None opens a file."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from gateway.config.bind_settings import BindMode, ReceiverSettings
from gateway.config.carrier_settings import CarrierSettings
from gateway.config.carrier_text_settings import text_findings
from gateway.config.carrier_tlv_settings import tlv_findings

Finding = tuple[str, str]


def carrier_findings(carrier: CarrierSettings) -> Iterator[Finding]:
    """Yield what is wrong between the settings of one carrier: (key, what is wrong and what to do)."""
    tls = carrier.tls
    if carrier.reconnect_max_s < carrier.reconnect_min_s:
        yield "reconnect_max", "is shorter than reconnect_min"
    if (tls.certificate_file is None) != (tls.key_file is None):
        yield "tls", "wants certificate_file and key_file together, or neither"
    receiver = carrier.bind.receiver
    if carrier.bind.mode is not BindMode.PAIR and receiver != ReceiverSettings(
        host=None, port=None, server_name="", system_id="", password_file=None
    ):
        yield "bind.receiver", "is only for bind.mode pair; set that, or remove the section"
    if receiver.system_id and receiver.password_file is None:
        yield "bind.receiver", "has a system_id of its own, and wants a password_file for it"
    yield from text_findings(carrier.text)
    yield from carrier.receipts.findings()
    yield from tlv_findings(carrier.tlvs)
    if not carrier.insecure:
        return
    if receiver.host and not is_loopback(receiver.host):
        yield "insecure", f"{receiver.host} is not on loopback: passwords and texts would cross the network readable"
    if not is_loopback(carrier.host):
        yield "insecure", f"{carrier.host} is not on loopback: passwords and texts would cross the network readable"
    if tls.ca_file or tls.server_name or tls.certificate_file or tls.key_file or tls.spki_sha256:
        yield "insecure", "turns TLS off, yet there are settings under tls; remove one of the two"


def is_loopback(host: str) -> bool:
    """Say whether `host` is a loopback address, or the name that always means one (RFC 6761 §6.3)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
