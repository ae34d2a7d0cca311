"""`smsgw payload-key`, and what `smsgw check` says of payload keys."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jwcrypto.jwk import JWK

from gateway.cli.inspection import before_start
from gateway.cli.payload_inspection import look_at_payload_keys
from gateway.cli.payload_key import payload_key
from gateway.config.loader import load
from tests.gateway.sealed.keys import key_file


def run(*arguments: object, code: int = 0) -> str:
    """Run the command; what it prints."""
    result = CliRunner().invoke(payload_key, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def configured(site: Path) -> Path:
    """Return a node's folder with one payload key, made by the command."""
    run("create", "--out", site / "keys/payload.jwk", "--kind", "x25519", "--days", 10)
    name(site, "keys/payload.jwk")
    return site


def name(site: Path, *files: str, setting: str = "key_files") -> None:
    """Have the configuration name these files."""
    config = site / "smsgw.yaml"
    lines = config.read_text().splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.strip().startswith(f"{setting}:")]
    lines[at] = f"  {setting}: [{', '.join(files)}]"
    config.write_text("\n".join(lines) + "\n")


def found(site: Path) -> Any:
    """Return what a start finds of the payload keys."""
    findings = before_start(load(site / "smsgw.yaml"), dt.datetime.now(dt.UTC))
    return next((finding for finding in findings if finding.subject == "payload keys"), None)


def test_create(tmp_path: Path) -> None:
    """A private file, which another library reads as a private key for encryption; nothing is overwritten."""
    file = tmp_path / "a.jwk"
    (made,) = [json.loads(line) for line in run("create", "--out", file, "--json").splitlines()]
    assert file.stat().st_mode & 0o777 == 0o600
    key = JWK.from_json(file.read_text())
    assert (key.has_private, key["use"], key["alg"], key["crv"]) == (True, "enc", "ECDH-ES", "P-256")
    assert made["kid"] == key["kid"] == key.thumbprint()
    before = file.read_bytes()
    assert "exists" in run("create", "--out", file, code=2)
    assert file.read_bytes() == before
    assert "No such file" in run("create", "--out", tmp_path / "no" / "a.jwk", code=1)
    assert json.loads(before)["d"] not in run("create", "--out", tmp_path / "b.jwk")


def test_list(configured: Path) -> None:
    """What a configuration names, with its state; a fault in a file is told, and nothing of a key is."""
    config = ("--config", configured / "smsgw.yaml")
    (row,) = [json.loads(line) for line in run("list", *config, "--json").splitlines()]
    assert (row["alg"], row["state"]) == ("ECDH-ES", "published")
    assert row["kid"] in run("list", *config)
    old = {**json.loads(key_file()), "exp": 1_000_000_000}
    (configured / "keys/old.jwk").touch(mode=0o600)
    (configured / "keys/old.jwk").write_text(json.dumps(old))
    name(configured, "keys/payload.jwk", "keys/old.jwk")
    text = run("list", *config)
    assert "of no more use" in text
    assert old["d"] not in text
    name(configured, "keys/kek.key")
    assert "is no JSON" in run("list", *config, code=2)
    name(configured)
    assert "sealed content is refused" in run("list", *config)


def test_public(configured: Path) -> None:
    """The public half in a file of its own, which another library reads; nothing is overwritten, and no key shown."""
    file = configured / "keys/payload.pub.jwk"
    (made,) = [
        json.loads(line)
        for line in run("public", configured / "keys/payload.jwk", "--out", file, "--json").splitlines()
    ]
    key = JWK.from_json(file.read_text())
    assert (key.has_private, key["kid"], key["alg"]) == (False, made["kid"], "ECDH-ES")
    assert "exists" in run("public", configured / "keys/payload.jwk", "--out", file, code=2)
    assert "is a public key" in run("public", file, "--out", configured / "b.jwk", code=2)
    assert "No such file" in run("public", configured / "keys/payload.jwk", "--out", configured / "no/b", code=1)


def test_an_accepting_node(configured: Path) -> None:
    """Where there are public halves alone, they are listed and checked; a private key among them is a fault."""
    private, public = configured / "keys/payload.jwk", configured / "keys/payload.pub.jwk"
    run("public", private, "--out", public)
    settings = load(configured / "smsgw.yaml")
    only = dataclasses.replace(settings.payload, key_files=(), public_key_files=(public,))
    (finding,) = look_at_payload_keys(dataclasses.replace(settings, payload=only), dt.datetime.now(dt.UTC))
    assert "1 of 1 published" in finding.found
    wrong = dataclasses.replace(only, public_key_files=(private,))
    (finding,) = look_at_payload_keys(dataclasses.replace(settings, payload=wrong), dt.datetime.now(dt.UTC))
    assert "is a private key" in finding.problem


def test_check(configured: Path) -> None:
    """A start looks at them: how many are published and until when, and what is wrong with a file."""
    assert "1 of 1 published" in found(configured).found
    jwk = json.loads((configured / "keys/payload.jwk").read_text())
    (configured / "keys/payload.jwk").write_text(json.dumps({**jwk, "exp": 1_000_000_000}))
    assert "none may be sealed to" in found(configured).problem
    (configured / "keys/payload.jwk").chmod(0o644)
    assert "chmod 600" in found(configured).problem
    (configured / "keys/payload.jwk").unlink()
    assert "does not exist" in found(configured).problem
    name(configured)
    assert found(configured) is None
