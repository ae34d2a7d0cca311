"""The configuration is read whole, or everything that is wrong with it is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from carrier.profile import CarrierProfile, CarrierTls, Secret
from gateway.config.errors import ConfigError
from gateway.config.loader import load
from gateway.config.schema import Environment, LogLevel
from tests.gateway.config.conftest import MINIMAL, Load, Problems, Write

CARRIER = "carriers:\n  - {name: acme, host: smpp.example, system_id: me, password_file: secret%s}\n"


def test_minimal_file_has_the_documented_defaults(loaded: Load, tmp_path: Path) -> None:
    """What is left out has its default, and paths are taken from the folder of the file."""
    settings = loaded("")
    assert settings.file == tmp_path / "smsgw.yaml"
    assert settings.node.environment is Environment.PRODUCTION
    assert str(settings.api.listen) == "127.0.0.1:7443"
    assert settings.api.svid_file == tmp_path / "pki/gateway.pem"
    assert dict(settings.identity.bundles) == {"example.org": tmp_path / "pki/bundle.pem"}
    assert settings.store.file == tmp_path / "data/smsgw.db"
    assert settings.messages.validity.otp_s == 300
    assert settings.messages.validity.transactional_s == 86_400
    assert settings.pipeline.resend.otp is True
    assert settings.pipeline.resend.promotional is False
    assert settings.tenants == ()
    assert settings.carriers == ()
    assert settings.log.level is LogLevel.INFO


def test_carrier_becomes_a_profile(loaded: Load, tmp_path: Path) -> None:
    """A carrier's settings reach the profile under their units, the password without its line end."""
    settings = loaded(CARRIER % ", rate: 12.5, window: 10, enquire_link: 1m, tls: {ca_file: ca.pem}")
    assert settings.carriers == (
        CarrierProfile(
            name="acme",
            host="smpp.example",
            port=3550,
            system_id="me",
            password=Secret(b"s3cret"),
            tls=CarrierTls(ca_file=tmp_path / "ca.pem"),
            window=10,
            rate_pdus_s=12.5,
            enquire_link_s=60,
        ),
    )


def test_profile_defaults_are_those_of_the_schema(loaded: Load) -> None:
    """A carrier that says nothing special is the profile's own default in every field."""
    profile = loaded(CARRIER % "").carriers[0]
    for item in dataclasses.fields(CarrierProfile):
        if item.default is not dataclasses.MISSING:
            assert getattr(profile, item.name) == item.default, item.name


def test_settings_are_frozen(loaded: Load) -> None:
    """Nothing can be changed once it is read, not even the table of bundles."""
    settings = loaded("")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.node.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.identity.bundles["x"] = Path()  # type: ignore[index]


def test_unknown_key_names_line_and_nearest(problems: Problems) -> None:
    """An unknown key is told with its line and the key that was meant, which is then not missing too."""
    assert problems("node:\n  trust_domian: example.org\nidentity: {bundles: {example.org: b.pem}}\n") == [
        (2, "node.trust_domian", "is no setting; did you mean trust_domain?")
    ]


def test_unknown_key_without_a_near_one_lists_the_known(problems: Problems) -> None:
    """A key like no other is told with all that could stand there."""
    ((line, key, text),) = problems(MINIMAL + "log: {zzz: 1}\n")
    assert (line, key, text) == (3, "log.zzz", "is no setting; known here: level, format")


def test_all_problems_at_once_in_order(problems: Problems) -> None:
    """Every wrong value is reported, wherever it stands, in the order of the file."""
    found = problems(
        """\
node: {trust_domain: Example.org}
api:
  listen: "7443"
  max_concurrent_streams: "10"
  drain_timeout: 30
identity: {bundles: []}
messages: {max_segments: 999}
carriers:
  - {name: a, host: h, system_id: i, password: hunter2, tls: [x], insecure: yes}
log: [1]
"""
    )
    assert [(line, key) for line, key, _ in found] == [
        (1, "node.trust_domain"),
        (3, "api.listen"),
        (4, "api.max_concurrent_streams"),
        (5, "api.drain_timeout"),
        (6, "identity.bundles"),
        (7, "messages.max_segments"),
        (9, "carriers[0].password"),
        (9, "carriers[0].password_file"),
        (9, "carriers[0].tls"),
        (9, "carriers[0].insecure"),
        (10, "log"),
    ]
    texts = [text for _, _, text in found]
    assert "remove the quotes" in texts[2]
    assert "Write 30s" in texts[3]
    assert texts[5] == "wants 1 to 255 segments; 999 is outside"
    assert not any("hunter2" in text for text in texts)


def test_inline_password_is_refused_with_advice(problems: Problems) -> None:
    """A password in the file is refused, is not repeated, and the way to do it is told."""
    ((_, key, text),) = problems(MINIMAL + CARRIER % ", password: hunter2")
    assert key == "carriers[0].password"
    assert "password_file" in text
    assert "hunter2" not in text


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_password_file_that_others_can_use_is_refused(write: Write, mode: int) -> None:
    """A secret file has to be private; the text gives the command that makes it so."""
    file = write(MINIMAL + CARRIER % "")
    (file.parent / "secret").chmod(mode)
    with pytest.raises(ConfigError, match=r"smsgw.yaml:4: carriers\[0\].password_file: .*chmod 600"):
        load(file)


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"1" * 65, "more than 64"), (b"a\xc3\xa9", "visible ASCII")],
)
def test_password_that_smpp_cannot_carry_is_refused(write: Write, content: bytes, text: str) -> None:
    """An empty, too long or non-ASCII password is found before a carrier refuses it."""
    file = write(MINIMAL + CARRIER % "")
    (file.parent / "secret").write_bytes(content)
    with pytest.raises(ConfigError, match=text):
        load(file)


def test_missing_password_file_is_named(problems: Problems) -> None:
    """A password file that is not there is told with its path."""
    ((line, key, text),) = problems(MINIMAL + (CARRIER % "").replace("secret", "gone.password"))
    assert (line, key) == (4, "carriers[0].password_file")
    assert "gone.password does not exist" in text


def test_missing_file_points_to_init(tmp_path: Path) -> None:
    """Without a file, the operator learns how to get one."""
    with pytest.raises(ConfigError, match="smsgw init"):
        load(tmp_path / "smsgw.yaml")


def test_texts_stay_as_written(loaded: Load) -> None:
    """Numbers with a plus, leading zeros and words like `no` are texts where a text is wanted."""
    settings = loaded(
        "tenants: [{name: no, spiffe_ids: ['spiffe://example.org/a'], inbound_numbers: [+4915112345678, 0123]}]\n"
    )
    assert settings.tenants[0].name == "no"
    assert settings.tenants[0].inbound_numbers == ("+4915112345678", "0123")


def test_empty_section_is_its_defaults(loaded: Load) -> None:
    """A section that is named and left empty is the same as one left out."""
    assert loaded("log:\nmessages: {validity: }\ncarriers:\n") == loaded("")
