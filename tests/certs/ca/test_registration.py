"""The file of nodes and workloads: read strictly, and read again when it changes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from certs.ca.profile import LeafRequest
from certs.ca.registration import RegistrationFile, UnixSelectors, WorkloadEntry, read_registration
from certs.errors import AuthorityError, SvidFileError
from certs.spiffe_id import SpiffeId, TrustDomain

DOMAIN = TrustDomain("example.org")
DIGEST = "0123456789abcdef" * 4
GOOD = f"""\
nodes:
  - spiffe_id: spiffe://example.org/node/web1
  - {{spiffe_id: spiffe://example.org/node/web2, ttl: 2h, dns: web2.example.org}}
entries:
  - spiffe_id: spiffe://example.org/billing
    node: [spiffe://example.org/node/web1, spiffe://example.org/node/web2]
    unix: {{uid: 1001, gid: 1002, path: /usr/bin/billing, sha256: {DIGEST}}}
    ttl: 30m
    dns: billing.example.org
    hint: internal
  - spiffe_id: spiffe://example.org/other
    node: spiffe://example.org/node/web2
    unix: {{uid: 0}}
"""


def identity(path: str) -> SpiffeId:
    """Return an ID in the trust domain."""
    return SpiffeId(DOMAIN, path)


def written(tmp_path: Path, content: str) -> Path:
    """Return a file with this content."""
    path = tmp_path / "entries.yaml"
    path.write_text(content)
    return path


def test_what_a_file_says(tmp_path: Path) -> None:
    """Every key is read, and what is left out has its default."""
    found = read_registration(written(tmp_path, GOOD), DOMAIN)
    web1, web2 = identity("/node/web1"), identity("/node/web2")
    assert dict(found.nodes) == {
        web1: LeafRequest(spiffe_id=web1, ttl_s=3600),
        web2: LeafRequest(spiffe_id=web2, ttl_s=7200, dns_names=("web2.example.org",)),
    }
    billing = WorkloadEntry(
        request=LeafRequest(spiffe_id=identity("/billing"), ttl_s=1800, dns_names=("billing.example.org",)),
        nodes=frozenset({web1, web2}),
        selectors=UnixSelectors(uid=1001, gid=1002, path="/usr/bin/billing", sha256=DIGEST),
        hint="internal",
    )
    assert found.at(web1) == (billing,)
    assert [entry.request.spiffe_id.path for entry in found.at(web2)] == ["/billing", "/other"]
    assert found.at(identity("/node/web3")) == ()


ENTRY = "entries:\n  - spiffe_id: spiffe://example.org/x\n    node: spiffe://example.org/n\n    unix: {uid: 1}\n"
NODE = "nodes:\n  - spiffe_id: spiffe://example.org/n\n"


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("", None, "nodes. and .entries. were expected"),
        ("nodes: [", None, "not readable as YAML"),
        ("node: []", 1, "unknown key `node`; did you mean `nodes`"),
        ("nodes: 5", 1, "must be a list"),
        ("- 5", 1, "a mapping with nodes, entries"),
        ("nodes:\n  - {}", 2, "`spiffe_id` is missing"),
        (NODE + "    uid: 5", 3, "unknown key `uid`"),
        ("nodes:\n  - spiffe_id: spiffe://other.org/n", 2, "not in example.org"),
        ("nodes:\n  - spiffe_id: spiffe://EXAMPLE.org/n", 2, "no trust domain"),
        ("nodes:\n  - spiffe_id: [5]", 2, "`spiffe_id` must be one text"),
        (NODE + "    ttl: soon", 2, "no duration"),
        (NODE + "    ttl: 48h", 2, "5m to 24h"),
        (NODE + "    dns: '*.example.org'", 2, "no DNS name"),
        (NODE + "  - spiffe_id: spiffe://example.org/n", 3, "registered before"),
        (ENTRY, 2, "node spiffe://example.org/n is not under `nodes`"),
        (NODE + ENTRY.replace("    unix: {uid: 1}\n", ""), 4, "`unix` is missing"),
        (NODE + ENTRY.replace("{uid: 1}", "{gid: 1}"), 6, "`uid` is missing"),
        (NODE + ENTRY.replace("uid: 1", "uid: root"), 6, "`uid` must be a whole number"),
        (NODE + ENTRY.replace("uid: 1", "uid: 4294967295"), 6, "`uid` must be a whole number"),
        (NODE + ENTRY.replace("uid: 1", "uid: 1, path: bin/x"), 6, "`path` must be absolute"),
        (NODE + ENTRY.replace("uid: 1", "uid: 1, sha256: ABC"), 6, "`sha256` must be 64"),
        (NODE + ENTRY.replace("uid: 1", "uid: 1, uid: 2"), 6, "`uid` is given twice"),
        (NODE + ENTRY.replace("spiffe://example.org/n", "[]"), 5, "names none"),
        (NODE + ENTRY.replace("spiffe://example.org/n", "nowhere"), 5, "`node`: 'nowhere' is no SPIFFE ID"),
        (NODE + ENTRY.replace("/x", "/n"), 4, "a workload needs its own"),
        (NODE + ENTRY + "    hint: two words\n", 7, "`hint` has 1 to 64"),
        (NODE + ENTRY + ENTRY.replace("entries:\n", ""), 7, "registered at spiffe://example.org/n before"),
    ],
)
def test_mistakes_have_file_line_and_key(tmp_path: Path, content: str, line: int | None, message: str) -> None:
    """A mistake is refused with its place, and what to write instead."""
    path = written(tmp_path, content)
    where = re.escape(str(path)) + ("" if line is None else f", line {line}: ")
    with pytest.raises(AuthorityError, match=f"(?s)^{where}.*{message}"):
        read_registration(path, DOMAIN)


def test_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is bounded in octets and entries."""
    monkeypatch.setattr("certs.ca.registration.MAX_ENTRIES", 1)
    with pytest.raises(AuthorityError, match="2 items; 1 at most"):
        read_registration(written(tmp_path, GOOD), DOMAIN)
    monkeypatch.setattr("certs.ca.registration.MAX_FILE_BYTES", 10)
    with pytest.raises(SvidFileError, match="larger than"):
        read_registration(written(tmp_path, GOOD), DOMAIN)


def test_hot_reload(tmp_path: Path) -> None:
    """A changed file counts at the next look; one with a mistake is told once, and what counted goes on counting."""
    path = written(tmp_path, GOOD)
    file = RegistrationFile(path, DOMAIN)
    assert not file.refresh()
    fresh = tmp_path / "fresh"
    fresh.write_text(NODE)
    fresh.replace(path)
    assert file.refresh()
    assert [str(node) for node in file.registration.nodes] == ["spiffe://example.org/n"]
    path.unlink()
    with pytest.raises(SvidFileError):
        file.refresh()
    assert not file.refresh()
    written(tmp_path, "nodes: 5")
    with pytest.raises(AuthorityError, match="must be a list"):
        file.refresh()
    assert [str(node) for node in file.registration.nodes] == ["spiffe://example.org/n"]
