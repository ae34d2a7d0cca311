"""Scripts: whole ones, and what is said of wrong ones."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrier.simulator import script_file
from carrier.simulator.errors import ScriptError
from carrier.simulator.script import (
    Binds,
    ErrorRule,
    ExtraTlv,
    InboundScript,
    Match,
    OddAnswer,
    Operations,
    Raw,
    Receipts,
    ReceiptVariant,
    RequiredTlv,
    Responses,
    Script,
    StateRule,
    Throttle,
    Window,
)
from carrier.simulator.script_file import parse_script, read_script

WHOLE = """
system_id: smsgw
password: secret
message_ids: hex
first_id: 9
alphabet: latin1
binds:
  kinds: [transmitter, receiver]
  most: 2
  status: ESME_RBINDFAIL
  interface_version: none
  tlvs: [{tag: 0x0210, value: "0034"}]
  longest_password: 8
responses:
  delay_s: 0.05
  none_every: 1000
  late_every: 7
  late_s: 40
  swap_s: 0.1
  body: absent
  error_body: tlv
  congestion: [90, 0]
  tlvs: [{tag: 0x1500, text: hi}]
  trailing: "14 00"
answers: [{to: query_sm, with: generic_nack, status: 8, every: 2, times: 3}]
window: {most: 10, status: ESME_RMSGQFUL}
required_tlvs: [{tag: 0x1400, missing: 0xC3, invalid: 0xC4, shortest: 1, longest: 20, digits: true}]
refuse_udhi_with_sar: true
operations: {query: answer, cancel: nack, replace: fail, data: answer, multi: fail}
enquire_link_s: 30
raw: [{octets: "00000008", at_s: 1}]
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
  retry_s: 2
  before: [ACCEPTD]
  afterwards: [UNDELIV]
  gap_s: 1
  unrequested: true
  parts: first
  unknown_id: nope
  dates: century
  done_offset_s: -60
  network_type: 3
  by: data_sm
  esm_class: 0x44
  before_esm_class: 0x20
  udh: "0401020304"
  payload: true
  data_coding: 8
  charset: latin1
  destination: "4366412345678"
  tlvs: [{tag: 1}]
  trailing: "00"
  variants: [{destination_prefix: "91", ids: hex_upper}]
errors:
  - {destination_prefix: "99", status: ESME_RINVDSTADR}
  - {every: 50, text: fail, status: 0x4A1, times: 3}
  - {status: 8, accepted: true}
throttle: {rate_s: 100, burst_s: 0.1}
disconnect_after: 5000
inbound:
  - {at_s: 2, from: "+4915112345678", to: "12345", text: STOP, repeat: 2}
  - {from: "1234", to: "12345", octets: "00ff", data_coding: 0xF5, udh: "240101", esm_class: 1, by: data_sm}
  - {from: "1234", to: "12345", text: hi, encoding: ucs2, segmentation: sar, reverse: true, missing_part: 2, tlvs: []}
"""


def test_a_whole_script() -> None:
    """Every key there is."""
    assert parse_script(WHOLE) == Script(
        system_id="smsgw",
        password="secret",
        message_ids="hex",
        first_id=9,
        alphabet="latin1",
        binds=Binds(
            kinds=("transmitter", "receiver"),
            most=2,
            status=0x0D,
            interface_version=None,
            tlvs=(ExtraTlv(tag=0x0210, value=b"\0\x34"),),
            longest_password=8,
        ),
        responses=Responses(
            delay_s=0.05,
            none_every=1000,
            late_every=7,
            late_s=40.0,
            swap_s=0.1,
            body="absent",
            error_body="tlv",
            congestion=(90, 0),
            tlvs=(ExtraTlv(tag=0x1500, value=b"hi"),),
            trailing=b"\x14\0",
        ),
        answers=(OddAnswer(to="query_sm", answer="generic_nack", status=8, every=2, times=3),),
        window=Window(most=10, status=0x14),
        required_tlvs=(RequiredTlv(tag=0x1400, missing=0xC3, invalid=0xC4, shortest=1, longest=20, digits=True),),
        refuse_udhi_with_sar=True,
        operations=Operations(query="answer", cancel="nack", replace="fail", data="answer", multi="fail"),
        enquire_link_s=30.0,
        raw=(Raw(octets=b"\0\0\0\x08", at_s=1.0),),
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
            retry_s=2.0,
            before=("ACCEPTD",),
            afterwards=("UNDELIV",),
            gap_s=1.0,
            unrequested=True,
            parts="first",
            unknown_id="nope",
            dates="century",
            done_offset_s=-60.0,
            network_type=3,
            by="data_sm",
            esm_class=0x44,
            before_esm_class=0x20,
            udh=b"\4\1\2\3\4",
            payload=True,
            data_coding=8,
            charset="latin1",
            destination="4366412345678",
            tlvs=(ExtraTlv(tag=1),),
            trailing=b"\0",
            variants=(ReceiptVariant(match=Match(destination_prefix="91"), how=Receipts(ids="hex_upper")),),
        ),
        errors=(
            ErrorRule(match=Match(destination_prefix="99"), status=0x0B),
            ErrorRule(match=Match(every=50, text="fail", times=3), status=0x4A1),
            ErrorRule(match=Match(), status=8, accepted=True),
        ),
        throttle=Throttle(rate_s=100.0, status=0x58, burst_s=0.1),
        disconnect_after=5000,
        inbound=(
            InboundScript(source="+4915112345678", destination="12345", text="STOP", at_s=2.0, repeat=2),
            InboundScript(
                source="1234",
                destination="12345",
                octets=b"\0\xff",
                data_coding=0xF5,
                udh=b"\x24\1\1",
                esm_class=1,
                by="data_sm",
            ),
            InboundScript(
                source="1234",
                destination="12345",
                text="hi",
                encoding="ucs2",
                segmentation="sar",
                reverse=True,
                missing_part=2,
            ),
        ),
    )


def test_the_whole_script_leaves_out_nothing() -> None:
    """A field that is not in it would not be tested."""
    assert {line.partition(":")[0] for line in WHOLE.splitlines() if line and line[0].isalpha()} == {
        field.name for field in fields(Script)
    }


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
        ("throttle: {zzz: 1}", "s.yaml:1: throttle.zzz:", "known here: rate_s, status, burst_s"),
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
        ("inbound: [{from: '1', to: '2', octets: '00'}]", "inbound[0].octets:", "with a data_coding"),
        ("inbound: [{from: '1', to: '2', octets: '0', data_coding: 4}]", "inbound[0].octets:", "in hex"),
        ("inbound: [{from: '1', to: '2', text: न, encoding: gsm}]", "inbound[0].text:", "outside the GSM alphabet"),
        ("answers: [{to: submit_sm}]", "answers[0].with:", "needed"),
        ("answers: [{to: submit, with: twice}]", "answers[0].to:", "none of any, bind_transmitter"),
        ("binds: {interface_version: 3.4}", "binds.interface_version:", "a whole number"),
        ("required_tlvs: [{missing: 8}]", "required_tlvs[0].tag:", "needed"),
        ("operations: {query: maybe}", "operations.query:", "none of nack, fail, answer"),
        ("receipts: {variants: [{window: 1}]}", "receipts.variants[0].window:", "unknown key"),
        ("receipts: {unknown_id: 'a b'}", "receipts.unknown_id:", "visible ASCII"),
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
