"""Scripts: whole ones, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.simulator import script_file
from carrier.simulator.errors import ScriptError
from carrier.simulator.script import (
    ErrorRule,
    InboundScript,
    Match,
    Receipts,
    Responses,
    Script,
    StateRule,
    Throttle,
)
from carrier.simulator.script_file import parse_script, read_script

WHOLE = """
system_id: smsgw
password: secret
message_ids: hex
responses: {delay_s: 0.05, none_every: 1000}
receipts:
  send: true
  delay_s: 0.5
  states: [DELIVRD, UNDELIV]
  rules:
    - {destination_suffix: "00", state: EXPIRED, error: "027"}
  before_response: true
  duplicates: 1
  form: tlv
  ids: decimal
  template: "id:{id} stat:{stat}"
  window: 10
  redeliver_after_s: 5
errors:
  - {destination_prefix: "99", status: ESME_RINVDSTADR}
  - {every: 50, text: fail, status: 0x4A1, times: 3}
throttle: {rate_s: 100}
disconnect_after: 5000
inbound:
  - {at_s: 2, from: "+4915112345678", to: "12345", text: STOP, repeat: 2}
"""


def test_a_whole_script() -> None:
    """Every key there is."""
    assert parse_script(WHOLE) == Script(
        system_id="smsgw",
        password="secret",
        message_ids="hex",
        responses=Responses(delay_s=0.05, none_every=1000),
        receipts=Receipts(
            delay_s=0.5,
            states=("DELIVRD", "UNDELIV"),
            rules=(StateRule(match=Match(destination_suffix="00"), state="EXPIRED", error="027"),),
            before_response=True,
            duplicates=1,
            form="tlv",
            ids="decimal",
            template="id:{id} stat:{stat}",
            window=10,
            redeliver_after_s=5.0,
        ),
        errors=(
            ErrorRule(match=Match(destination_prefix="99"), status=0x0B),
            ErrorRule(match=Match(every=50, text="fail", times=3), status=0x4A1),
        ),
        throttle=Throttle(rate_s=100.0, status=0x58),
        disconnect_after=5000,
        inbound=(InboundScript(source="+4915112345678", destination="12345", text="STOP", at_s=2.0, repeat=2),),
    )


def test_the_scripts_of_the_documentation_are_whole() -> None:
    """What the module shows can be played."""
    shown = script_file.__doc__ or ""
    assert parse_script(shown[shown.index("system_id:") :]).throttle == Throttle(rate_s=100.0, status=0x58)


def test_an_empty_script_is_a_good_carrier() -> None:
    """Nothing said: everything delivered."""
    assert parse_script("") == Script() == parse_script("# nothing\n")


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        ("respones: {}", "s.yaml:1: respones:", "did you mean responses?"),
        ("\nreceipts:\n  dealy_s: 1", "s.yaml:3: receipts.dealy_s:", "did you mean delay_s?"),
        ("throttle: {zzz: 1}", "s.yaml:1: throttle.zzz:", "known here: rate_s, status"),
        ("system_id: a\nsystem_id: b", "s.yaml:2: system_id:", "twice"),
        ("system_id: 12", "s.yaml:1: system_id:", "in quotes"),
        ("system_id: 1234567890123456x", "s.yaml:1: system_id:", "1 to 15"),
        ("responses: {delay_s: -1}", "responses.delay_s:", "a number from 0"),
        ("responses: {delay_s: .nan}", "responses.delay_s:", "a number from 0"),
        ("responses: {delay_s: true}", "responses.delay_s:", "a number from 0"),
        ("responses: {none_every: 1.5}", "responses.none_every:", "a whole number"),
        ("responses: 5", "s.yaml:1: responses:", "a mapping is wanted"),
        ("receipts: {send: 1}", "receipts.send:", "true or false"),
        ("receipts: {states: []}", "receipts.states:", "at least one"),
        ("receipts: {states: DELIVRD}", "receipts.states:", "a list"),
        ('receipts: {states: ["a b"]}', "receipts.states[0]:", "letters or digits"),
        ("receipts: {states: [[a]]}", "receipts.states[0]:", "a single value"),
        ("receipts: {form: xml}", "receipts.form:", "none of both, text, tlv"),
        ("receipts: {rules: [{state: X, error: 'a b'}]}", "receipts.rules[0].error:", "visible ASCII"),
        ("receipts: {rules: [{every: 2}]}", "receipts.rules[0].state:", "needed"),
        ('receipts: {template: "{id.x}"}', "receipts.template:", "the fields are"),
        ('receipts: {template: "{nope}"}', "receipts.template:", "the fields are"),
        ('receipts: {template: "{0}"}', "receipts.template:", "the fields are"),
        ('receipts: {template: "{"}', "receipts.template:", "the fields are"),
        ('receipts: {template: "é"}', "receipts.template:", "ASCII"),
        ("errors: [{every: 2}]", "errors[0].status:", "needed"),
        ("errors: [{status: ESME_RTHROTLED}]", "errors[0].status:", "did you mean ESME_RTHROTTLED?"),
        ("errors: [{status: ESME_ROK}]", "errors[0].status:", "no error status"),
        ("errors: [{status: 0}]", "errors[0].status:", "no error status"),
        ("errors: [{status: 1, destination_prefix: '+49'}]", "errors[0].destination_prefix:", "without a plus"),
        ("inbound: [{from: '1', to: '2'}]", "inbound[0].text:", "needed"),
        ("inbound: [{from: '१', to: '2', text: a}]", "inbound[0].from:", "GSM"),
        ('inbound: [{from: "123", to: "123", text: "\\uD800"}]', "inbound[0].text:", "surrogate"),
        ("[1]", "s.yaml:1: the script:", "a mapping is wanted"),
        ("a: [", "s.yaml:1:", "not YAML"),
        ("password: 2001-99-99", "s.yaml:1: password:", "2001-99-99"),
        ("{[a]: 1}", "s.yaml:1: ?:", "unknown key"),
    ],
)
def test_errors_name_line_and_key_and_say_what_to_do(content: str, where: str, what: str) -> None:
    """An unplayable script is refused before anything runs."""
    with pytest.raises(ScriptError) as caught:
        parse_script(content, "s.yaml")
    assert where in str(caught.value)
    assert what in str(caught.value)


def test_files_are_read_and_bounded(tmp_path: Path) -> None:
    """A missing, an endless and a good file."""
    path = tmp_path / "s.yaml"
    with pytest.raises(ScriptError, match="readable YAML file"):
        read_script(path)
    path.write_text("message_ids: hex")
    assert read_script(path).message_ids == "hex"
    path.write_text("#" * (script_file.MAX_SCRIPT_BYTES + 1))
    with pytest.raises(ScriptError, match="at most"):
        read_script(path)


@given(st.one_of(st.binary(max_size=100), st.text(st.sampled_from("abc:{}[]&*!-\n \"'0"), max_size=60)))
def test_no_content_raises_anything_else(content: bytes | str) -> None:
    """A script or a ScriptError."""
    try:
        assert isinstance(parse_script(content), Script)
    except ScriptError as error:
        assert str(error).startswith("script")  # noqa: PT017  # either outcome is right


def test_a_script_that_refers_to_itself_is_refused() -> None:
    """YAML's aliases make no endless reading."""
    with pytest.raises(ScriptError, match="a single value"):
        parse_script("receipts: {states: &a [*a]}")
