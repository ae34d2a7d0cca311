"""The folder of `smsgw dev`: what a later version gives one that an earlier version made."""

from __future__ import annotations

from pathlib import Path

import yaml

from gateway.cli.dev_site import DevSite
from gateway.config.client_file import client_text, load_client
from gateway.policy.default_set import default_files
from gateway.revocation.keys import read_signing_key


def test_an_older_folder_gets_the_policies_that_it_lacks(tmp_path: Path) -> None:
    """Policies are the owner's, and stay; new files come."""
    policy = tmp_path / "policy"
    policy.mkdir()
    (tmp_path / ".dev").touch()
    (policy / "10-calls.cedar").write_text("// edited")
    assert DevSite(tmp_path).ensure() is False
    files = default_files()
    assert (policy / "10-calls.cedar").read_text() == "// edited"
    assert (policy / "40-operation.cedar").read_bytes() == files["40-operation.cedar"]
    assert {file.name for file in policy.iterdir()} == set(files)


def test_an_older_folder_gets_the_key_of_the_deny_list_once(tmp_path: Path) -> None:
    """It is made when there is none, readable by its owner alone, and then kept."""
    (tmp_path / ".dev").touch()
    DevSite(tmp_path).ensure()
    key = tmp_path / "keys" / "deny-list.key"
    made = key.read_bytes()
    read_signing_key(key)
    assert key.stat().st_mode & 0o077 == 0
    DevSite(tmp_path).ensure()
    assert key.read_bytes() == made


def test_client_yaml_follows_the_addresses(tmp_path: Path) -> None:
    """Both addresses are kept as the node has them; everything else of the file stays."""
    values = {
        "target": "127.0.0.1:1",
        "server_name": "gateway.smsgw.test",
        "svid_file": "a",
        "svid_key_file": "b.key",
        "bundle_file": "c",
        "admin.target": "127.0.0.1:2",
        "admin.svid_file": "d",
        "admin.svid_key_file": "e.key",
    }
    file = tmp_path / "client.yaml"
    file.write_text("# mine\n" + client_text(values))
    before = yaml.safe_load(file.read_text())
    client = DevSite(tmp_path).client("127.0.0.1:11", "127.0.0.1:22")
    assert client.admin is not None
    assert (str(client.target), str(client.admin.target)) == ("127.0.0.1:11", "127.0.0.1:22")
    after = yaml.safe_load(file.read_text())
    after["target"], after["admin"]["target"] = before["target"], before["admin"]["target"]
    assert after == before
    assert file.read_text().startswith("# mine\n")
    old = {name: text for name, text in values.items() if not name.startswith("admin.")}
    file.write_text(client_text(old))  # of an earlier version, which knew no operators
    assert DevSite(tmp_path).client("127.0.0.1:11", "").admin is None
    assert load_client(file).admin is None
