"""The schema that is made from the vocabulary and the method table, asked by Cedar itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import cedarpy
import pytest
from cedarpy import Entities, PolicySet, Schema

from gateway.admins import NO_TENANT_NAME, PEER_NAME
from gateway.api.authorizing import call_actions
from gateway.policy.requests import Measure, Question
from gateway.policy.schema import cedar_schema
from gateway.policy.translation import as_entities, as_request
from gateway.policy.vocabulary import ATTRIBUTES, Action, Subject, actions_of, attributes_of

TEXT = cedar_schema(call_actions())
SCHEMA = Schema.from_str(TEXT)
ACTIONS = {action.name: action for action in actions_of(call_actions())}
SPIFFE_ID = "spiffe://example.org/team/service"


def questions(action: Action) -> Iterator[Question]:
    """Yield what is asked about an action: with all that there is, and without what may be left out."""
    tenant = {"Admin": NO_TENANT_NAME, "Peer": PEER_NAME}.get(action.principal, "tenant")
    question = Question(action.name, SPIFFE_ID, tenant, "carrier", "ACME", 1, "DE", measure=Measure(0, True, 5))
    yield question
    # An address belongs to a call, and is gone when the message is routed.
    address = "" if action.subject is Subject.ROUTING else "2001:db8::1"
    yield question._replace(address=address, measure=Measure(3, False, 5))


def ask(action: Action, question: Question, policy: str) -> cedarpy.AuthzResult:
    """Return Cedar's answer to a question about an action, by one policy."""
    entities = Entities.from_json_str(json.dumps(as_entities(SPIFFE_ID, question.tenant, "example.org")), SCHEMA)
    return cedarpy.is_authorized(as_request(question), PolicySet.from_str(policy), entities, SCHEMA)


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_everything_that_is_asked(name: str) -> None:
    """Each action of the method table, each send and the route can be asked about, and lies in its group alone."""
    action = ACTIONS[name]
    for question in questions(action):
        group = action.group or name
        result = ask(action, question, f'permit(principal, action in Action::"{group}", resource);')
        assert (result.allowed, list(result.diagnostics.errors)) == (True, [])
        others = {other.group for other in ACTIONS.values() if other.group} - {group}
        for other in others:
            assert not ask(action, question, f'permit(principal, action in Action::"{other}", resource);').allowed


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_every_attribute_is_sent(name: str) -> None:
    """What the vocabulary promises is in the question: each attribute of the action is there, and no other."""
    action = ACTIONS[name]
    asked = list(questions(action))
    full = as_request(asked[-1])["context"]
    assert set(full) == {attribute.name for attribute in attributes_of(action.subject)}
    least = as_request(asked[0])["context"]
    assert set(least) == {attribute.name for attribute in attributes_of(action.subject) if not attribute.optional}


def test_a_method_of_the_table_is_an_action() -> None:
    """A new row of the method table needs nothing else: its action and its group are there."""
    schema = Schema.from_str(cedar_schema({**call_actions(), "NewService.Do": "new:do"}))
    policy = '@id("x") permit(principal, action in Action::"new:do", resource);'
    assert cedarpy.validate_policies(policy, schema).validation_passed
    assert not cedarpy.validate_policies(policy, SCHEMA).validation_passed


def test_words_for_people() -> None:
    """Each attribute is explained where it stands."""
    for attribute in ATTRIBUTES:
        head = attribute.doc[:40]
        assert TEXT.count(f"// {head}") == len(attribute.subjects)


@pytest.mark.parametrize("name", ["New\nService.Do", "Überall.Do"])
def test_odd_names_are_refused(name: str) -> None:
    """What could end up as something else in Cedar's syntax is no name."""
    with pytest.raises(ValueError, match="cannot be the name"):
        cedar_schema({name: "new:do"})


def test_quotes_in_a_name() -> None:
    """A name with quotes is a name with quotes."""
    Schema.from_str(cedar_schema({'New"Service\\.Do': "new:do"}))
