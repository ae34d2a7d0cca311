"""`smsgw init` writes a private site, once."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.init import init
from gateway.config.client_file import load_client
from gateway.config.loader import load


def test_everything_is_private(tmp_path: Path) -> None:
    """Files are 0600 and folders 0700, whatever the umask."""
    site = tmp_path / "site"
    assert CliRunner().invoke(init, ["--dir", str(site)]).exit_code == 0
    for path in [site, *site.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert len((site / "keys/index.key").read_bytes()) == 32


def test_names_are_taken_over(tmp_path: Path) -> None:
    """Trust domain, tenant and bundle stand in every file that needs them."""
    arguments = ["--dir", str(tmp_path), "--trust-domain", "corp.example", "--tenant", "shop", "--bundle", "b.pem"]
    assert CliRunner().invoke(init, arguments).exit_code == 0
    settings, client = load(tmp_path / "smsgw.yaml"), load_client(tmp_path / "client.yaml")
    assert settings.node.trust_domain == "corp.example"
    assert settings.tenants[0].spiffe_ids == ("spiffe://corp.example/shop",)
    assert dict(settings.identity.bundles) == {"corp.example": tmp_path / "b.pem"}
    assert client.bundle_file == tmp_path / "b.pem"
    assert client.server_name == "gateway.corp.example"
    assert str(client.target) == str(settings.api.listen)


def test_keys_differ(tmp_path: Path) -> None:
    """Two sites have two keys."""
    for name in ("a", "b"):
        assert CliRunner().invoke(init, ["--dir", str(tmp_path / name)]).exit_code == 0
    assert (tmp_path / "a/keys/index.key").read_bytes() != (tmp_path / "b/keys/index.key").read_bytes()


@pytest.mark.parametrize("name", ["smsgw.yaml", "client.yaml", "svids.yaml", "keys/index.key"])
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    """One file in the way stops all of it before anything is written."""
    (tmp_path / "keys").mkdir()
    (tmp_path / name).write_text("mine")
    result = CliRunner().invoke(init, ["--dir", str(tmp_path), "--json"])
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["reason"] == "IN_THE_WAY"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [Path(name).name]
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("arguments", [("--trust-domain", "Example.org"), ("--tenant", "a b")])
def test_wrong_names(tmp_path: Path, arguments: tuple[str, str]) -> None:
    """A name that the configuration would refuse is refused here."""
    assert CliRunner().invoke(init, ["--dir", str(tmp_path / "x"), *arguments]).exit_code == 2
    assert not (tmp_path / "x").exists()


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """An operating system's refusal is told in a sentence."""
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(init, ["--dir", str(tmp_path / "file" / "site")])
    assert result.exit_code == 1
    assert "file" in result.stderr


def test_steps_are_printed(tmp_path: Path) -> None:
    """What comes next is told as commands, in JSON as a list."""
    answer = json.loads(CliRunner().invoke(init, ["--dir", str(tmp_path), "--json"]).stdout)
    assert [command.split()[1] for command in answer["next"]][:3] == ["ca", "ca", "serve"]
    assert str(tmp_path / "smsgw.yaml") in answer["files"]
