"""docs/policy.md says what is so: its policies fit the schema, and its tables are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.api.authorizing import call_actions
from gateway.policy.engine import Engine, Reason
from gateway.policy.loader import load_policies
from gateway.policy.requests import Question
from tests.gateway.policy.sets import write_set

PAGE = (Path(__file__).parents[3] / "docs" / "policy.md").read_text(encoding="utf-8")
MARKETING = "spiffe://example.org/marketing/app"


def test_policies_of_the_page(tmp_path: Path) -> None:
    """Every policy on the page can be used, and decides as the page says."""
    blocks = [block for block in re.findall(r"```cedar\n(.*?)```", PAGE, re.DOTALL) if "@id" in block]
    found = load_policies(write_set(tmp_path, page="\n".join(blocks)), call_actions())
    assert len(found.policies) == PAGE.count('@id("') >= 2
    noon = Question("SendPromotional", MARKETING, "marketing", "", "ACME", 3, "DE", "", 1, 720)
    engine = Engine(found)
    assert engine.decide(noon).allowed
    assert engine.decide(noon._replace(country="FR")).reason is Reason.NOT_PERMITTED
    assert engine.decide(noon._replace(weekday=7)).policies == ("promotions-quiet-hours",)


def test_conditions_about_callers(tmp_path: Path) -> None:
    """Every condition that the page shows for callers fits the schema."""
    (block,) = [block for block in re.findall(r"```cedar\n(.*?)```", PAGE, re.DOTALL) if "@id" not in block]
    conditions = [line.split("//  ")[0].split(" // ")[0].strip() for line in block.splitlines()]
    policies = "\n".join(
        f'@id("p{n}") permit(principal is Caller, action, resource) when {{ {condition} }};'
        for n, condition in enumerate(conditions)
    )
    assert len(load_policies(write_set(tmp_path, page=policies), call_actions()).policies) == len(conditions) == 6
