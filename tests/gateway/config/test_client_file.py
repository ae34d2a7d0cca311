"""client.yaml is written and read by the same definitions."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.client_file import ClientSettings, OperatorSettings, client_text, load_client
from gateway.config.errors import ConfigError
from gateway.config.kinds import Address

VALUES = {
    "target": "[::1]:7443",
    "server_name": "gateway.example.org",
    "svid_file": "pki/a.pem",
    "svid_key_file": "/abs/a.key",
    "bundle_file": "b.pem",
}


def test_round_trip(tmp_path: Path) -> None:
    """What is written loads, relative paths from the folder of the file."""
    file = tmp_path / "client.yaml"
    file.write_text(client_text(VALUES))
    assert load_client(file) == ClientSettings(
        target=Address("::1", 7443),
        server_name="gateway.example.org",
        server_id=None,
        workload_api=None,
        spiffe_id=None,
        svid_file=tmp_path / "pki/a.pem",
        svid_key_file=Path("/abs/a.key"),
        bundle_file=tmp_path / "b.pem",
        admin=None,
        ca=None,
    )


def test_who_the_node_is(tmp_path: Path) -> None:
    """The node's SPIFFE ID is written and read where it is given; what is none is refused."""
    file = tmp_path / "client.yaml"
    file.write_text(client_text({**VALUES, "server_id": "spiffe://example.org/gateway"}))
    assert load_client(file).server_id == "spiffe://example.org/gateway"
    file.write_text(file.read_text().replace("spiffe://example.org/gateway", "spiffe://EXAMPLE.org"))
    with pytest.raises(ConfigError, match="server_id"):
        load_client(file)


def test_the_section_of_operators(tmp_path: Path) -> None:
    """Where operators call is written and read in a section of its own."""
    file = tmp_path / "client.yaml"
    admin = {"admin.target": "h:7444", "admin.svid_file": "pki/o.pem", "admin.svid_key_file": "pki/o.key"}
    file.write_text(client_text({**VALUES, **admin}))
    assert load_client(file).admin == OperatorSettings(
        target=Address("h", 7444),
        spiffe_id=None,
        svid_file=tmp_path / "pki/o.pem",
        svid_key_file=tmp_path / "pki/o.key",
    )


def test_all_problems(tmp_path: Path) -> None:
    """Every mistake is told, and what is missing too."""
    file = tmp_path / "client.yaml"
    file.write_text("target: here\nserver_name: a b\n")
    with pytest.raises(ConfigError) as caught:
        load_client(file)
    keys = [problem.key for problem in caught.value.problems]
    assert keys == ["target", "server_name"]
    file.write_text("target: 127.0.0.1:1\nserver_name: a\nspiffe_id: spiffe://example.org/a\nadmin: {target: h:1}\n")
    with pytest.raises(ConfigError) as caught:
        load_client(file)
    missing = ["svid_file", "svid_key_file", "bundle_file", "spiffe_id", "admin.svid_file", "admin.svid_key_file"]
    assert [problem.key for problem in caught.value.problems] == missing


def test_an_identity_from_a_workload_api(tmp_path: Path) -> None:
    """It stands instead of the files, for callers and operators, and not beside them."""
    file = tmp_path / "client.yaml"
    names = {name: VALUES[name] for name in ("target", "server_name")}
    values = {
        **names,
        "workload_api": "environment",
        "spiffe_id": "spiffe://example.org/demo",
        "admin.target": "h:7444",
    }
    file.write_text(client_text({**values, "admin.spiffe_id": "spiffe://example.org/admin/ann"}))
    found = load_client(file)
    assert (found.workload_api, found.spiffe_id, found.svid_file) == ("environment", "spiffe://example.org/demo", None)
    assert found.admin is not None
    assert (found.admin.spiffe_id, found.admin.svid_file) == ("spiffe://example.org/admin/ann", None)
    file.write_text(client_text({**VALUES, "workload_api": "unix:///run/api.sock"}))
    with pytest.raises(ConfigError) as caught:
        load_client(file)
    assert [problem.key for problem in caught.value.problems] == ["svid_file", "svid_key_file", "bundle_file"]
