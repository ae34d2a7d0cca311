"""The settings of the deny list: a node signs, or follows with all that it needs for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config.errors import ConfigError
from gateway.config.loader import load

FOLLOWS: dict[str, Any] = {
    "publisher": "10.0.0.1:7444",
    "publisher_id": "spiffe://example.org/gateway",
    "public_key_files": ["keys/deny-list.pub"],
}
NODE = "spiffe://example.org/gateway-2"


def written(folder: Path, revocation: dict[str, Any], *, admin: bool = True) -> Path:
    """Write a configuration with this section."""
    document: dict[str, Any] = {
        "node": {"trust_domain": "example.org"},
        "identity": {"bundles": {"example.org": "pki/bundle.pem"}},
        "tenants": [{"name": "demo", "spiffe_ids": ["spiffe://example.org/demo"]}],
        "revocation": revocation,
    }
    if admin:
        document["admin"] = {"listen": "127.0.0.1:7444"}
    path = folder / "smsgw.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_both_roles(tmp_path: Path) -> None:
    """Without a word a node signs, with the key that init makes; one that names a publisher follows."""
    alone = load(written(tmp_path, {})).revocation
    assert alone.publisher is None
    assert alone.signing_key_file == tmp_path / "keys" / "deny-list.key"
    assert (alone.max_age_s, alone.heartbeat_s, alone.poll_s) == (60.0, 5.0, 15.0)
    follows = load(written(tmp_path, FOLLOWS)).revocation
    assert (str(follows.publisher), follows.public_key_files) == ("10.0.0.1:7444", (tmp_path / "keys/deny-list.pub",))
    issuers = [{"trust_domain": "example.org", "backdating": "10s", "longest_svid": "1h"}]
    issuer = load(written(tmp_path, {"issuers": issuers})).revocation.issuer("example.org")
    assert issuer is not None
    assert (issuer.backdating_s, issuer.longest_svid_s) == (10.0, 3600.0)
    assert load(written(tmp_path, {"issuers": issuers})).revocation.issuer("other.org") is None


@pytest.mark.parametrize(
    ("revocation", "key"),
    [
        ({**FOLLOWS, "publisher_id": None}, "revocation.publisher_id"),
        ({**FOLLOWS, "public_key_files": []}, "revocation.public_key_files"),
        ({**FOLLOWS, "publisher": "10.0.0.1:0"}, "revocation.publisher"),
        ({**FOLLOWS, "publisher_id": "spiffe://other.org/gateway"}, "revocation.publisher_id"),
        ({**FOLLOWS, "followers": [NODE]}, "revocation.followers"),
        ({"publisher_id": "spiffe://example.org/gateway"}, "revocation.publisher_id"),
        ({"followers": ["spiffe://other.org/gateway-2"]}, "revocation.followers[0]"),
        ({"followers": ["spiffe://example.org/admin/gateway-2"]}, "revocation.followers[0]"),
        ({"followers": ["spiffe://example.org/demo"]}, "revocation.followers[0]"),
        ({"max_age": "8s"}, "revocation.heartbeat"),
        ({"max_age": "20s"}, "revocation.poll"),
        ({"issuers": [{"trust_domain": "a.org"}, {"trust_domain": "a.org"}]}, "revocation.issuers[1].trust_domain"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, revocation: dict[str, Any], key: str) -> None:
    """Each is refused before the node starts, by its key."""
    given = {name: value for name, value in revocation.items() if value is not None}
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, given))
    assert key in {problem.key for problem in refused.value.problems}


def test_followers_need_an_address(tmp_path: Path) -> None:
    """They fetch the list on the administrative address."""
    with pytest.raises(ConfigError, match=r"admin\.listen"):
        load(written(tmp_path, {"followers": [NODE]}, admin=False))
