"""How a carrier is bound, from the file to the profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from carrier.profile import Binding, Receiver, Secret
from tests.gateway.config.conftest import MINIMAL, Load, Problems

CARRIER = "carriers:\n  - {name: a, host: %s, system_id: me, password_file: secret, %s}\n"


def test_what_is_left_out(loaded: Load) -> None:
    """A transceiver of SMPP 3.4, and a carrier that states no version is taken for 3.3."""
    profile = loaded(CARRIER % ("h", "")).carriers[0]
    assert profile.binding == Binding(receiver=None, interface_version=0x34, assumed_version=0x33)
    assert profile.max_inbound_rate == 20_000


def test_a_pair(loaded: Load) -> None:
    """Row 17: the receiver has what the file says of it, its password from a file of its own."""
    settings = (
        "max_inbound_rate: 50, bind: {mode: pair, interface_version: '5.0', assumed_version: '3.4', addr_ton: 1, "
        "addr_npi: 1, address_range: '^49', receiver: {host: rx, port: 99, system_id: rx1, password_file: secret}}"
    )
    profile = loaded(CARRIER % ("h", settings)).carriers[0]
    receiver = Receiver(host="rx", port=99, system_id="rx1", password=Secret(b"s3cret"))
    assert profile.binding == Binding(
        receiver=receiver, interface_version=0x50, assumed_version=0x34, addr_ton=1, addr_npi=1, address_range="^49"
    )
    assert profile.max_inbound_rate == 50
    assert loaded(CARRIER % ("h", "bind: {mode: pair}")).carriers[0].binding.receiver == Receiver()


@pytest.mark.parametrize(
    ("host", "settings", "key", "text"),
    [
        ("h", "bind: {receiver: {host: rx}}", "bind.receiver", "only for bind.mode pair"),
        ("h", "bind: {mode: pair, receiver: {system_id: rx}}", "bind.receiver", "password_file"),
        ("localhost", "insecure: true, bind: {mode: pair, receiver: {host: rx}}", "insecure", "rx is not on loopback"),
        ("h", "bind: {mode: both}", "bind.mode", "transceiver or pair"),
        ("h", "bind: {mode: pair, receiver: {password_file: gone.pw}}", "bind.receiver.password_file", "gone.pw"),
    ],
)
def test_contradictions(problems: Problems, host: str, settings: str, key: str, text: str) -> None:
    """What cannot be meant is told with its key."""
    ((_, found, said),) = problems(MINIMAL + CARRIER % (host, settings))
    assert found == f"carriers[0].{key}"
    assert text in said


def test_a_long_password(loaded: Load, tmp_path: Path) -> None:
    """Row 25: sixty-four characters are taken as they are."""
    password = "x" * 64
    loaded(CARRIER % ("h", ""))
    (tmp_path / "secret").write_text(password)
    assert loaded(CARRIER % ("h", "")).carriers[0].password == Secret(password.encode())
