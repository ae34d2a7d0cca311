"""From a carrier's section to its profile: how the carrier writes things."""

from __future__ import annotations

from carrier.ids import IdForm, IdForms
from carrier.profile import CarrierProfile
from tests.gateway.config.conftest import Load

CARRIER = "carriers:\n  - name: acme\n    host: smpp.example\n    system_id: me\n    password_file: secret\n"


def profile_with(loaded: Load, added: str) -> CarrierProfile:
    """Return the profile of a carrier with further settings, each on a line of its own."""
    return loaded(CARRIER + "".join(f"    {line}\n" for line in added.splitlines())).carriers[0]


def test_ids(loaded: Load) -> None:
    """Ids are as written, unless the section says how each side writes them."""
    assert profile_with(loaded, "").ids.plain
    profile = profile_with(loaded, "ids: {response: hex, receipt: decimal, ignore_case: true}")
    assert profile.ids == IdForms(response=IdForm.HEX, receipt=IdForm.DECIMAL, ignore_case=True)
