"""docs/configuration.md and the file of `smsgw init` say what the definitions say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gateway.config.definitions import Definition, definitions
from gateway.config.docs import TARGET, main, markdown
from gateway.config.kinds import Items, Section, Table
from gateway.config.loader import load
from gateway.config.schema import Document
from gateway.config.template import commented_file

TENANT = {"tenants[0].name": "demo", "node.trust_domain": "corp.example"}


def every_definition(schema: type = Document) -> Iterator[Definition]:
    """Yield every setting there is, sections too."""
    for definition in definitions(schema):
        yield definition
        kind = definition.kind.kind if isinstance(definition.kind, Items) else definition.kind
        if isinstance(kind, Section):
            yield from every_definition(kind.schema)


def test_document_is_up_to_date() -> None:
    """docs/configuration.md is what the definitions give."""
    assert TARGET.read_text(encoding="utf-8") == markdown(), "run: python -m gateway.config.docs --write"


def test_document_has_every_setting() -> None:
    """Each setting is explained under its key."""
    text = markdown()
    for definition in every_definition():
        assert definition.doc.replace("|", "\\|") in text
        assert f"`{definition.key}`" in text or f"{definition.key}[]`" in text or f".{definition.key}`" in text


def test_smallest_file_of_the_document_loads(tmp_path: Path) -> None:
    """The example in the document is a configuration."""
    found = re.search(r"```yaml\n(.*?)```", markdown(), re.DOTALL)
    assert found
    (tmp_path / "smsgw.yaml").write_text(found[1])
    assert load(tmp_path / "smsgw.yaml").tenants[0].name == "demo"


@pytest.mark.parametrize("definition", list(every_definition()), ids=lambda definition: str(definition.key))
def test_default_is_in_its_own_range(definition: Definition) -> None:
    """A default can be read as its own setting; every setting has a sentence of its own."""
    assert definition.doc.endswith(".")
    if not isinstance(definition.kind, Items | Table | Section) and definition.default is not None:
        value = definition.kind.read(definition.default)
        assert definition.kind.read(yaml.load(definition.kind.show(value), Loader=yaml.BaseLoader)) == value  # noqa: S506 -- makes nothing but texts


def test_commented_file_equals_the_defaults(tmp_path: Path) -> None:
    """The file that init writes loads, and every default in it is the one the loader has without it."""
    full, small = tmp_path / "smsgw.yaml", tmp_path / "small.yaml"
    full.write_text(commented_file(TENANT))
    small.write_text(
        "node: {trust_domain: corp.example}\nidentity: {bundles: {corp.example: pki/bundle.pem}}\n"
        "tenants: [{name: demo, spiffe_ids: ['spiffe://corp.example/demo']}]\n"
    )
    loaded, expected = load(full), load(small)
    for section in ("node", "api", "identity", "tenants", "store", "messages", "pipeline", "carriers", "log"):
        assert getattr(loaded, section) == getattr(expected, section)


def uncommented(text: str, key: str) -> str:
    """Take the `# ` away from the example of a list of sections."""
    head, tail = text.split(f"{key}: []\n")
    example, rest = tail.split("\n\n", 1)
    lines = [line.removeprefix("# ") for line in example.splitlines()[1:]]
    return head + "\n".join(lines) + "\n\n" + rest


def test_commented_carrier_and_route_can_be_uncommented(tmp_path: Path) -> None:
    """Taking the `# ` away from the examples of a carrier, and of a route by it, gives files that load."""
    file = tmp_path / "smsgw.yaml"
    (tmp_path / "keys").mkdir(mode=0o700)
    (tmp_path / "keys/acme.password").write_text("pw")
    (tmp_path / "keys/acme.password").chmod(0o600)
    file.write_text(uncommented(commented_file(TENANT), "carriers"))
    (carrier,) = load(file).carriers
    assert (carrier.name, carrier.host) == ("acme", "smpp.carrier.example")
    file.write_text(uncommented(uncommented(commented_file(TENANT), "carriers"), "routes"))
    (route,) = load(file).routes
    assert (route.name, sorted(route.match.prefixes)) == ("india-otp", ["+91"])
    assert [way.carrier for way in route.targets] == ["acme"]


def test_chosen_values_stand_in_the_file(tmp_path: Path) -> None:
    """What was chosen replaces example and default, lists and quotes included."""
    chosen = {
        **TENANT,
        "tenants[0].inbound_numbers": ["80800", "+4930123456"],
        "tenants[1].name": "other",
        "tenants[1].spiffe_ids": ["spiffe://corp.example/other"],
        "node.environment": "development",
        "messages.receipt_grace": "90s",
        "store.file": "with space: and #.db",
    }
    (tmp_path / "smsgw.yaml").write_text(commented_file(chosen))
    settings = load(tmp_path / "smsgw.yaml")
    assert settings.tenants[0].inbound_numbers == ("80800", "+4930123456")
    assert settings.tenants[1].spiffe_ids == ("spiffe://corp.example/other",)
    assert settings.node.environment == "development"
    assert settings.messages.receipt_grace_s == 90
    assert settings.store.file == tmp_path / "data/with space: and #.db"


def test_check_and_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--check fails until --write has run; anything else is a usage error."""
    monkeypatch.setattr("gateway.config.docs.TARGET", tmp_path / "configuration.md")
    assert main(["--check"]) == 1
    assert "--write" in capsys.readouterr().err
    assert main(["--write"]) == 0
    assert main(["--check"]) == 0
    assert main([]) == 2


def test_nothing_that_guards_the_door_is_reloadable() -> None:
    """Addresses, keys, names and paths are fixed for the life of a node, but for the key that wraps others."""
    for definition in every_definition():
        if definition.key == "kek_file":  # it is replaced by operators while the node runs
            continue
        if definition.key.endswith("_file") or definition.key in {"listen", "name", "trust_domain", "environment"}:
            assert not definition.reloadable
