"""`smsgw policy test`: tables that hold, tables that do not, and tables that are none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import policy_table
from gateway.cli.main import main
from gateway.policy.default_set import EXPECTATIONS, default_files
from tests.gateway.policy.sets import write_set

ALL = '@id("all")\npermit(principal, action, resource) when { resource != principal };\n'
NIGHT = """
@id("night") forbid(principal, action == Action::"SendPromotional", resource) when { context.minute >= 1200 };
"""
PARTNERS = '@id("partners") forbid(principal, action == Action::"SendOtp", resource) when { principal.federated };\n'
SEND = "spiffe_id: spiffe://example.org/shop, tenant: shop, sender: ACME, to_country: DE"


def call(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["policy", "test", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small set; nothing else is in the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    return write_set(tmp_path / "policy", a=ALL, b=NIGHT + PARTNERS)


def table(folder: Path, *entries: str, head: str = "") -> Path:
    """Write a table beside the policies."""
    file = folder / EXPECTATIONS
    file.write_text(f"{head}expectations:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries))
    return file


def asked(*arguments: object) -> tuple[int, dict[str, Any]]:
    """Run the command with --json."""
    result = call(*arguments, "--json")
    return result.exit_code, json.loads(result.stdout)


def test_what_holds(folder: Path) -> None:
    """Each combination of the lists is a case; what holds is counted, and what decided nothing is told."""
    table(
        folder,
        f"{SEND}, action: [SendOtp, SendTransactional], batch: [1, 2, 3], expect: allow, by: all",
        f"{SEND}, action: SendPromotional, at: [2026-11-23T20:00, 2026-11-23T23:59], expect: deny, by: night",
    )
    result = call()
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "8 of 8 cases are decided as expected",
        "decides no case: partners  policy/b.cedar:3",
    ]
    assert call("--strict").exit_code == 1
    code, answer = asked("--strict")
    assert (code, answer["ok"], answer["cases"], answer["failures"]) == (1, False, 8, [])
    assert [policy["id"] for policy in answer["undecided"]] == ["partners"]


def test_what_does_not_hold(folder: Path) -> None:
    """A failure is told with its line, what was asked, what was expected and what was found; exit code 1."""
    table(
        folder,
        f"{SEND}, action: SendOtp, expect: allow",
        f"name: at night, {SEND}, action: SendPromotional, at: [2026-11-23T19:59, 2026-11-23T20:00], expect: deny",
        f"{SEND}, action: SendPromotional, at: 2026-11-23T20:00, expect: deny, by: partners",
    )
    result = call()
    assert result.exit_code == 1
    sent = "action=SendPromotional spiffe_id=spiffe://example.org/shop tenant=shop sender=ACME category=3 country=DE"
    assert result.stdout.splitlines()[:8] == [
        f"FAIL  policy/{EXPECTATIONS}:3  at night",
        f"      asked     {sent} weekday=1 minute=1199 segments=1 batch=1",
        "      expected  deny",
        "      found     allow by all",
        f"FAIL  policy/{EXPECTATIONS}:4",
        f"      asked     {sent} weekday=1 minute=1200 segments=1 batch=1",
        "      expected  deny by partners",
        "      found     deny by night",
    ]
    assert "2 of 4 cases are decided as expected" in result.stdout
    code, answer = asked()
    assert (code, answer["ok"]) == (1, False)
    first, second = answer["failures"]
    assert (first["line"], first["expected"], first["found"], first["found_by"]) == (3, "deny", "allow", ["all"])
    assert (second["expected_by"], second["found_by"], second["question"]["minute"]) == ("partners", ["night"], 1200)


def test_a_policy_that_errs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be evaluated denies, and a table that expects otherwise says why."""
    monkeypatch.chdir(tmp_path)
    boom = NIGHT.replace("context.minute >= 1200", "context.minute + 9223372036854775807 > 0")
    table(
        write_set(tmp_path / "policy", a=ALL, b=boom),
        f"{SEND}, action: SendPromotional, at: 2026-11-23T20:00, expect: allow",
    )
    result = call()
    assert result.exit_code == 1
    assert re.search(r"error +while evaluating policy .*overflow", result.stdout)


def test_federated(folder: Path) -> None:
    """The node's trust domain is the table's, else that of who asks."""
    entry = f"{SEND}, action: SendOtp, expect: %s"
    table(folder, entry % "allow")
    assert call().exit_code == 0
    table(folder, entry % "deny", head="trust_domain: example.com\n")
    assert call().exit_code == 0


def test_several_tables(folder: Path, tmp_path: Path) -> None:
    """Tables that are named are asked together, of the set that is named."""
    first, second = tmp_path / "one.yaml", tmp_path / "two.yaml"
    for file in (first, second):
        file.write_text(table(folder, f"{SEND}, action: SendOtp, expect: allow").read_text())
    code, answer = asked(first, second, "--policies", folder)
    assert (code, answer["cases"]) == (0, 2)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("spiffe_id: spiffe://example.org/shop, action: SendOtp", "expect: is missing"),
        (f"{SEND}, action: SendOtp, expect: maybe", "wants allow or deny"),
        (f"{SEND}, action: SendOtp, expect: deny, acton: x", "did you mean action?"),
        (f"{SEND}, action: Nope, expect: deny", "there is no action 'Nope'"),
        (f"{SEND}, action: GetMessage, expect: deny", "not asked about with sender, to_country"),
        (f"{SEND}, action: SendOtp, expect: deny, by: nope", "by: there is no policy nope"),
        (f"{SEND}, action: SendPromotional, expect: deny", "say when (at): policies about SendPromotional read the"),
        (f"{SEND}, action: SendOtp, expect: deny, at: noon", "at wants a time"),
        (f"{SEND}, action: SendOtp, expect: deny, batch: 1001", "batch[0]: wants 1 to 1000"),
        ("spiffe_id: spiffe://example.org/shop, action: GetMessage, expect: deny", "say which tenant"),
        ("spiffe_id: example.org, tenant: a, action: GetMessage, expect: deny", "spiffe_id[0]"),
    ],
)
def test_what_is_no_table(folder: Path, entry: str, text: str) -> None:
    """A table with a fault is refused with file, line and key, rather than asked otherwise than it was meant."""
    table(folder, f"{SEND}, action: SendOtp, expect: allow", entry)
    code, answer = asked()
    assert (code, answer["error"]["reason"]) == (2, "BAD_TABLE")
    assert re.search(rf"{EXPECTATIONS}:3: .*{re.escape(text)}", answer["error"]["message"]), answer


def test_no_table_and_no_set(folder: Path) -> None:
    """What is not there is told, and a broken set answers nothing."""
    assert asked()[1]["error"]["reason"] == "BAD_TABLE"
    table(folder, f"{SEND}, action: SendOtp, expect: allow")
    (folder / "a.cedar").write_text("permit(")
    assert asked()[1]["error"]["reason"] == "BAD_POLICIES"


def test_bounds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists multiply, up to a bound."""
    monkeypatch.setattr(policy_table, "MAX_CASES", 5)
    table(folder, f"{SEND}, action: [SendOtp, SendTransactional], batch: [1, 2, 3], expect: allow")
    assert "makes 6 cases; at most 5" in asked()[1]["error"]["message"]


def test_the_default_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table that is shipped holds, and each policy of the default set decides a case of it."""
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path / "policy")
    code, answer = asked("--strict")
    assert (code, answer["failures"], answer["undecided"]) == (0, [], [])
    assert answer["cases"] > 30


def test_every_example_with_its_expectation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All commented examples in force together: everything in the table holds, its commented part too, and each of the
    examples decides what its expectation says."""
    monkeypatch.chdir(tmp_path)
    folder = write_set(tmp_path / "policy")
    for name, octets in default_files().items():
        text = octets.decode()
        if name == EXPECTATIONS:
            text = re.sub(r"(?m)^  # ", "  ", text)
        else:
            blocks = re.findall(r"(?:^// @id(?:.*\n))(?:^//.*\n)*?^// .*;\n", text, re.MULTILINE)
            text += "\n".join(re.sub(r"(?m)^// ?", "", block) for block in blocks)
        (folder / name).write_text(text)
    code, answer = asked("--strict")
    assert (code, answer["failures"], answer["undecided"]) == (0, [], [])
    commented = default_files()[EXPECTATIONS].decode().count("  #   by:")
    assert commented > sum(octets.count(b"// @id(") for octets in default_files().values()) - 1


def test_what_init_writes(site: Path) -> None:
    """A new site's table holds for its policies, asked as its configuration says."""
    assert call("--config", site / "smsgw.yaml", "--strict").exit_code == 0
