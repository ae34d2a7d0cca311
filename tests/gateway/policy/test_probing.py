"""Whether a schema knows what this version asks."""

from __future__ import annotations

from cedarpy import Schema

from gateway.api.authorizing import call_actions
from gateway.policy.default_set import default_schema
from gateway.policy.probing import unfit_actions


def test_the_schema_of_this_version() -> None:
    """The schema that is shipped knows every method of the table, every send, and the route."""
    assert unfit_actions(Schema.from_str(default_schema()), call_actions()) == []


def test_each_thing_that_is_missing() -> None:
    """Each action that cannot be asked about is told, with the way out."""
    text = default_schema().replace('"SendOtp", ', "").replace('action "UseRoute"', 'action "TakeRoute"')
    told = unfit_actions(Schema.from_str(text), {"MessageService.GetMessage": "message:send", "New.Do": "new:do"})
    assert [sentence.split(" (")[0].split(";")[0] for sentence in told] == [
        "does not have MessageService.GetMessage in the group message:send",
        "cannot be asked about New.Do",
        "cannot be asked about SendOtp",
        "cannot be asked about UseRoute",
    ]
    assert all("smsgw policy schema" in sentence for sentence in told)


def test_other_entities() -> None:
    """A schema of other entities is told once."""
    (told,) = unfit_actions(Schema.from_str("entity User;"), {})
    assert told.startswith("does not know the entities")
