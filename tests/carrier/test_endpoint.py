"""Which binds a profile asks for, and with what."""

from __future__ import annotations

from carrier.endpoint import Role, endpoints_of
from carrier.profile import Binding, CarrierTls, Receiver, Secret
from carrier.smpp.messages import BindReceiver, BindTransceiver, BindTransmitter
from tests.carrier.driver import profile_of


def test_one_transceiver() -> None:
    """Row 17: without a receiver there is one transceiver, with the profile's fields in its bind."""
    binding = Binding(interface_version=0x50, addr_ton=1, addr_npi=2, address_range="^49")
    (endpoint,) = endpoints_of(profile_of(2775, binding=binding, system_type="SMPP"))
    assert (endpoint.role, endpoint.where) == (Role.TRANSCEIVER, "127.0.0.1:2775")
    assert endpoint.bind == BindTransceiver(b"user", b"secret", b"SMPP", 0x50, 1, 2, b"^49")
    assert isinstance(endpoint.bind, BindTransceiver)


def test_a_pair_at_one_host() -> None:
    """Row 17: what the receiver does not say is as for the transmitter."""
    tls = CarrierTls(server_name="smsc.example")
    sender, receiver = endpoints_of(profile_of(2775, tls=tls, binding=Binding(receiver=Receiver())))
    assert (sender.role, receiver.role) == (Role.TRANSMITTER, Role.RECEIVER)
    assert (type(sender.bind), type(receiver.bind)) == (BindTransmitter, BindReceiver)
    assert sender.where == receiver.where
    assert sender.expected_name == receiver.expected_name == "smsc.example"


def test_a_pair_at_two_hosts() -> None:
    """Row 17: host, port, name and credentials of the receiver are its own."""
    own = Receiver(host="rx.example", port=2776, system_id="rx", password=Secret(b"other"))
    tls = CarrierTls(server_name="smsc.example")
    sender, receiver = endpoints_of(profile_of(2775, tls=tls, binding=Binding(receiver=own)))
    assert (receiver.where, receiver.expected_name) == ("rx.example:2776", "rx.example")
    assert (receiver.bind.system_id, receiver.bind.password) == (b"rx", b"other")
    assert (sender.bind.system_id, sender.bind.password) == (b"user", b"secret")
    named = Binding(receiver=Receiver(host="10.0.0.1", server_name="rx.example"))
    assert endpoints_of(profile_of(1, tls=tls, binding=named))[1].expected_name == "rx.example"


def test_an_address_of_version_6_is_bracketed() -> None:
    """The port stays readable."""
    assert endpoints_of(profile_of(2775, host="::1"))[0].where == "[::1]:2775"


def test_nothing_shows_a_password() -> None:
    """A repr of an endpoint holds no credential."""
    shown = repr(endpoints_of(profile_of(1, binding=Binding(receiver=Receiver(password=Secret(b"pa55word"))))))
    assert "secret" not in shown
    assert "pa55word" not in shown
