"""`smsgw policy` as security engineers use it: faults with places, answers with reasons, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.api.authorizing import call_actions
from gateway.cli.dev_site import DevSite
from gateway.cli.main import main
from gateway.policy.default_set import default_files
from gateway.policy.schema import cedar_schema
from tests.gateway.policy.sets import write_set

SHOP = "spiffe://example.org/shop/api"
ALL = '@id("all")\npermit(principal, action, resource) when { resource != principal };\n'
QUIET = """
@id("quiet") @description("No promotions at night.")
forbid(principal, action == Action::"SendPromotional", resource) when { context.minute >= 1200 };
"""
SEND = ("--action", "SendPromotional", "--sender", "ACME", "--to-country", "de")


def call(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["policy", *map(str, arguments)])


def explained(folder: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
    """Ask a set about a caller of the tenant shop; the exit code and the answer."""
    asked = call("explain", "--dir", folder, "--tenant", "shop", "--spiffe-id", SHOP, *arguments, "--json")
    return asked.exit_code, json.loads(asked.stdout)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small set; nothing else is in the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    return write_set(tmp_path / "set", a=ALL, b=QUIET)


def test_check_a_good_set(folder: Path) -> None:
    """A set in order is told with its size and what its decisions depend on."""
    result = call("check", "--dir", folder)
    assert result.exit_code == 0
    assert f"2 policies in 2 files of {folder} are in order" in result.stdout
    assert "decisions depend on who, what, and: minute\n  minute: asked about SendPromotional\n" in result.stdout
    answer = json.loads(call("check", "--dir", folder, "--json").stdout)
    assert answer["readers"] == {"minute": ["SendPromotional"]}
    assert (answer["ok"], answer["policies"], answer["reads"], answer["hints"]) == (
        True,
        ["all", "quiet"],
        ["minute"],
        [],
    )


def test_a_schema_of_before_is_told(folder: Path) -> None:
    """A schema that lies beside the policies counts for nothing, which is a hint as soon as it is another one."""
    schema = folder / "smsgw.cedarschema"
    schema.write_text(cedar_schema(call_actions()))
    assert call("check", "--dir", folder, "--strict").exit_code == 0
    schema.write_text("entity Team;")
    result = call("check", "--dir", folder, "--strict")
    assert (result.exit_code, "smsgw.cedarschema: is not read" in result.stdout) == (2, True)


def test_check_faults(folder: Path) -> None:
    """Faults come with file and line, all of them, and the exit code says so."""
    (folder / "c.cedar").write_text('\npermit(principal, action, resource);\n@id("x") permit(;')
    result = call("check", "--dir", folder)
    assert result.exit_code == 2
    assert f"{folder}/c.cedar:2: has no @id" in result.stderr
    assert f"{folder}/c.cedar:3: " in result.stderr
    result = call("check", "--dir", folder, "--json")
    assert result.exit_code == 2
    assert [(Path(p["file"]).name, p["line"]) for p in json.loads(result.stdout)["problems"]] == [
        ("c.cedar", 2), ("c.cedar", 3),
    ]  # fmt: skip


def test_check_hints(folder: Path) -> None:
    """Hints are told, and count with --strict."""
    (folder / "c.cedar").write_text('@id("x") permit(principal, action, resource);')
    (folder / "c.cedar").chmod(0o600)
    result = call("check", "--dir", folder)
    assert (result.exit_code, "hint: " in result.stdout) == (0, True)
    assert "c.cedar:1: x permits everything to everybody" in result.stdout
    assert call("check", "--dir", folder, "--strict").exit_code == 2


def test_check_finds_the_configuration(site: Path) -> None:
    """Without --dir, the set is that of the configuration."""
    result = call("check", "--config", site / "smsgw.yaml")
    assert result.exit_code == 0
    assert f"of {site / 'policy'} are in order" in result.stdout


def test_check_without_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is, the configuration that is missing is named; a folder called policy is enough."""
    monkeypatch.chdir(tmp_path)
    result = call("check")
    assert (result.exit_code, "smsgw.yaml" in result.stderr) == (2, True)
    write_set(tmp_path / "policy")
    assert call("check").exit_code == 0


def test_explain_allow(folder: Path) -> None:
    """A permission names its policy, and where that stands."""
    code, answer = explained(folder, *SEND, "--at", "2026-07-03T10:00")
    assert (code, answer["allowed"], answer["reason"]) == (0, True, "PERMITTED")
    assert answer["policies"] == [
        {"id": "all", "effect": "permit", "file": f"{folder}/a.cedar", "line": 1, "description": ""}
    ]
    assert answer["question"] == {
        "action": "SendPromotional", "spiffe_id": SHOP, "tenant": "shop", "sender": "ACME", "category": 3,
        "country": "DE", "weekday": 5, "minute": 600, "segments": 1, "batch": 1,
    }  # fmt: skip


def test_explain_deny(folder: Path) -> None:
    """A denial names the policy that forbids, and exits with 4."""
    code, answer = explained(folder, *SEND, "--at", "2026-07-03T20:30")
    assert (code, answer["allowed"], answer["reason"]) == (4, False, "FORBIDDEN")
    assert [policy["id"] for policy in answer["policies"]] == ["quiet"]
    result = call(
        "explain", "--dir", folder, "--tenant", "shop", "--spiffe-id", SHOP, *SEND, "--at", "2026-07-03T20:30"
    )
    assert result.exit_code == 4
    assert result.stdout.splitlines() == [
        "DENY   SendPromotional is forbidden by the policy quiet",
        f"  forbid quiet  {folder}/b.cedar:2  No promotions at night.",
        f"  asked by {SHOP}, tenant shop",
        "  PROMOTIONAL from ACME to DE, client not known, Friday 20:30 (UTC)",
    ]


def test_explain_by_default(tmp_path: Path) -> None:
    """When no policy permits, those that could have are named."""
    permit = ALL.replace("resource != principal", 'resource in Tenant::"other"')
    code, answer = explained(write_set(tmp_path, a=permit), *SEND)
    assert (code, answer["reason"], answer["policies"]) == (4, "NOT_PERMITTED", [])
    assert [policy["id"] for policy in answer["unmet_permits"]] == ["all"]


def test_explain_an_error(tmp_path: Path) -> None:
    """A policy that cannot be evaluated is named with Cedar's words."""
    trap = QUIET.replace("context.minute >= 1200", "context.minute + 9223372036854775807 > 0")
    code, answer = explained(write_set(tmp_path, a=ALL, b=trap), *SEND, "--at", "2026-07-03T20:30")
    assert (code, answer["reason"]) == (4, "EVALUATION_FAILED")
    assert [policy["id"] for policy in answer["policies"]] == ["quiet"]
    assert "overflow" in answer["errors"][0]


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (("--action", "SendOtp", "--sender", "A", "--to", "+447797123456"), "country", "JE"),
        (("--action", "sendotp", "--sender", "A", "--to-country", "ZZ"), "category", 1),
        (("--action", "GetMessage", "--address", "::ffff:10.1.2.3"), "address", "10.1.2.3"),
        (("--action", "MessageService.GetMessage"), "action", "MessageService.GetMessage"),
        (("--action", "Health.Check", "--at", "2026-07-03T10:00+02:00"), "minute", 480),
        (("--action", "UseRoute", "--carrier", "acme", "--category", "otp", "--sender", "A", "--to-country", "DE"),
         "carrier", "acme"),
        (("--action", "SendOtp", "--sender", "A", "--to-country", "DE", "--segments", "3"), "segments", 3),
        (("--action", "SendOtp", "--sender", "A", "--to-country", "DE", "--sealed"), "sealed", True),
        (("--action", "SendOtp", "--sender", "A", "--to-country", "DE", "--batch", "1000"), "batch", 1000),
    ],
)  # fmt: skip
def test_what_is_asked(folder: Path, arguments: tuple[str, ...], key: str, value: object) -> None:
    """What was typed becomes the question that a node would ask."""
    code, answer = explained(folder, *arguments)
    assert (code, answer["question"][key]) == (0, value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--action", "Nope"), "there is no action 'Nope'"),
        (("--action", "check", "--sender", "A"), "Health.Check is not asked about with --sender"),
        (("--action", "SendOtp"), "--sender is required"),
        (("--action", "SendOtp", "--sender", "A"), "say where to"),
        (("--action", "SendOtp", "--sender", "A", "--to", "0151"), "--to wants a number"),
        (("--action", "SendOtp", "--sender", "A", "--to", "+491511", "--to-country", "DE"), "--to or --to-country"),
        (("--action", "SendOtp", "--sender", "A", "--to-country", "DEU"), "two letters"),
        (("--action", "SendOtp", "--sender", "A", "--to-country", "DE", "--category", "OTP"), "with --category"),
        (("--action", "UseRoute", "--sender", "A", "--to-country", "DE", "--category", "OTP"), "say which carrier"),
        (("--action", "UseRoute", "--sender", "A", "--to-country", "DE", "--carrier", "c"), "the message's category"),
        (("--action", "UseRoute", "--address", "10.0.0.1"), "not asked about with --address"),
        (("--action", "GetMessage", "--address", "host"), "--address wants an IP address"),
        (("--action", "GetMessage", "--at", "noon"), "--at wants a time"),
        (("--action", "GetMessage", "--batch", "2", "--sealed"), "not asked about with --sealed, --batch"),
        (("--action", "SendOtp", "--sender", "A", "--to-country", "DE", "--batch", "1001"), "--batch is 1 to 1000"),
        (("--action", "SendOtp", "--sender", "A", "--to-country", "DE", "--segments", "-1"), "--segments is 1 to 255"),
        (("--action", "SendOtp", "--sender", "A", "--to-country", "DE", "--segments", "2", "--sealed"), "cannot be"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(folder: Path, arguments: tuple[str, ...], text: str) -> None:
    """A question that a node would not ask so is refused, with what is wrong: nobody is to believe a wrong answer."""
    code, answer = explained(folder, *arguments)
    assert code == 2
    assert text in answer["error"]["message"]


def test_explain_asks_the_configuration(site: Path) -> None:
    """Tenant, folder and time zone are those of the configuration; a stranger has no tenant."""
    config = site / "smsgw.yaml"
    config.write_text(config.read_text().replace("timezone: UTC", "timezone: Europe/Berlin"))
    asked = ("explain", "--config", config, "--action", "GetMessage", "--at", "2026-07-03T21:30Z", "--json")
    known = call(*asked, "--spiffe-id", "spiffe://example.org/demo/x")
    assert known.exit_code == 0, known.output
    question = json.loads(known.stdout)["question"]
    assert (question["tenant"], question["weekday"], question["minute"]) == ("demo", 5, 1410)
    stranger = call(*asked, "--spiffe-id", "spiffe://example.org/stranger")
    assert (stranger.exit_code, "belongs to no tenant" in stranger.stdout) == (2, True)
    odd = call(*asked, "--spiffe-id", "spiffe://EXAMPLE.org/demo")
    assert (odd.exit_code, json.loads(odd.stdout)["error"]["reason"]) == (2, "BAD_QUESTION")


def test_explain_without_a_tenant(folder: Path) -> None:
    """Where there is no configuration, the tenant has to be said."""
    result = call("explain", "--dir", folder, "--spiffe-id", SHOP, "--action", "GetMessage")
    assert (result.exit_code, "--tenant" in result.stderr) == (2, True)


def test_explain_a_broken_set(folder: Path) -> None:
    """A set with faults answers nothing."""
    (folder / "a.cedar").write_text("permit(")
    code, answer = explained(folder, "--action", "GetMessage")
    assert (code, answer["error"]["reason"]) == (2, "BAD_POLICIES")


def test_schema_and_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default set is written for its owner alone, and nothing is overwritten; the schema is printed."""
    monkeypatch.chdir(tmp_path)
    assert call("schema").stdout == cedar_schema(call_actions())
    assert call("init").exit_code == 0
    assert {path.name: path.read_bytes() for path in Path("policy").iterdir()} == default_files()
    assert {path.stat().st_mode & 0o777 for path in Path("policy").iterdir()} == {0o600}
    again = call("init", "--json")
    assert (again.exit_code, json.loads(again.stdout)["error"]["reason"]) == (2, "IN_THE_WAY")
    assert call("check", "--strict").exit_code == 0


def test_an_earlier_dev_folder_gets_policies(tmp_path: Path) -> None:
    """A folder that `smsgw dev` made before there were policies starts with the default ones; edited ones stay."""
    site = tmp_path / "dev"
    site.mkdir()
    (site / ".dev").touch()
    assert not DevSite(site).ensure()
    assert {path.name: path.read_bytes() for path in (site / "policy").iterdir()} == default_files()
    (site / "policy/10-calls.cedar").write_text("// ours")
    assert not DevSite(site).ensure()
    assert (site / "policy/10-calls.cedar").read_text() == "// ours"


def test_a_node_does_not_start_with_faults(site: Path) -> None:
    """`smsgw check` and `smsgw serve` name file and line of a policy's fault."""
    (site / "policy" / "99.cedar").write_text("\npermit(principal, action, resource);")
    (site / "policy" / "99.cedar").chmod(0o600)
    for command in ("check", "serve"):
        result = CliRunner().invoke(main, [command, "--config", str(site / "smsgw.yaml")])
        assert result.exit_code == 2
        assert "policy/99.cedar:2: has no @id" in result.output
