"""The policies that a new node starts with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.admins import PEER_NAME
from gateway.api.authorizing import call_actions
from gateway.policy.default_set import default_files
from gateway.policy.engine import Engine
from gateway.policy.loader import load_policies
from gateway.policy.requests import ADMIN_GROUPS, PEER_GROUPS, Question
from gateway.policy.vocabulary import ATTRIBUTES, all_actions
from tests.gateway.policy.sets import policies, write_set

ACTIONS = all_actions(call_actions())


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_everything_within_the_own_tenant(action: str) -> None:
    """A caller may do all that there is, for its own tenant, and by every carrier; an operator all that is for
    operators, and another node all that is for nodes. None may do what is another's."""
    caller = Question(action, "spiffe://example.org/demo", "demo", "acme", "ACME", 1, "DE")
    operator = Question(action, "spiffe://example.org/admin/ann", "")
    peer = Question(action, "spiffe://example.org/gateway-2", PEER_NAME)
    admin, node = ACTIONS[action].startswith(ADMIN_GROUPS), ACTIONS[action].startswith(PEER_GROUPS)
    engine = Engine(policies())
    asked = {"caller": caller, "operator": operator, "peer": peer}
    allowed = {name for name, question in asked.items() if engine.decide(question).allowed}
    assert allowed == {"operator" if admin else "peer" if node else "caller"}


def test_every_example_can_be_used(tmp_path: Path) -> None:
    """Each commented example is a policy that fits the schema, once its slashes are taken away."""
    write_set(tmp_path)
    examples = 0
    for name, octets in default_files().items():
        if name.endswith(".cedar"):
            text = octets.decode()
            for block in re.findall(r"(?:^// @id(?:.*\n))(?:^//.*\n)*?^// .*;\n", text, re.MULTILINE):
                examples += 1
                live = re.sub(r"(?m)^// ?", "", block)
                path = tmp_path / f"example-{examples}.cedar"
                path.write_text(live)
                path.chmod(0o600)
    assert examples == sum(octets.count(b"// @id(") for octets in default_files().values()) > 5
    found = load_policies(tmp_path, call_actions())
    assert len(found.policies) == len(policies().policies) + examples
    assert found.reads == {attribute.name for attribute in ATTRIBUTES}
