"""The audit's log, as it is configured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gateway.config.conftest import Load, Problems

NODE = "node: {trust_domain: example.org}\nidentity: {bundles: {example.org: b.pem}}\n"
LOG = "audit: {log: {origin: example.org/smsgw, %s}}\n"
VKEY = "witness.example/w1+12ab34cd+BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="


def test_there_is_none_by_default(loaded: Load) -> None:
    """Who says nothing has an audit without a log."""
    assert loaded("").audit.log is None


def test_a_log(loaded: Load, tmp_path: Path) -> None:
    """It lies in the data folder; archives and witnesses are as they are written."""
    log = loaded(
        LOG % "archives: [{name: a, file: a.jsonl}, {name: b, url: 'https://logs.example/x', token_file: keys/t.token},"
        " {name: c, syslog: 'syslog.example:6514', ca_file: ca.pem},"
        " {name: d, syslog: '127.0.0.1:514', insecure: true}],"
        f" witnesses: [{{public_key: '{VKEY}', url: 'https://witness.example/w1'}}], witnesses_required: 1"
    ).audit.log
    assert log is not None
    assert log.dir == tmp_path / "data" / "audit-log"
    assert [archive.name for archive in log.archives] == ["a", "b", "c", "d"]
    assert log.archives[0].file == tmp_path / "a.jsonl"
    assert log.witnesses[0].public_key == VKEY


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("archives: [{name: a}]", "archives[0].name"),
        ("archives: [{name: a, file: f, url: 'https://x'}]", "archives[0].name"),
        ("archives: [{name: a, file: f}, {name: a, file: g}]", "archives[1].name"),
        ("archives: [{name: a, url: 'http://logs.example/x'}]", "archives[0].url"),
        ("archives: [{name: a, url: 'http://logs.example/x', insecure: true}]", "archives[0].url"),
        ("archives: [{name: a, url: 'https://127.0.0.1/x', insecure: true}]", "archives[0].url"),
        ("archives: [{name: a, url: 'https://x:99999/'}]", "archives[0].url"),
        ("archives: [{name: a, url: 'ftp://x/'}]", "archives[0].url"),
        ("archives: [{name: a, syslog: 'syslog.example:514', insecure: true}]", "archives[0].insecure"),
        ("archives: [{name: a, syslog: '127.0.0.1:514', insecure: true, ca_file: c}]", "archives[0].insecure"),
        ("archives: [{name: a, file: f, ca_file: c}]", "archives[0].file"),
        ("archives: [{name: a, file: f, token_file: keys/t.token}]", "archives[0].token_file"),
        ("archives: [{name: a, url: 'https://x', certificate_file: c}]", "archives[0].key_file"),
        (f"witnesses: [{{public_key: '{VKEY}', url: 'http://w.example'}}]", "witnesses[0].url"),
        ("witnesses: [{public_key: none, url: 'https://w.example'}]", "witnesses[0].public_key"),
        ("witnesses_required: 1", "witnesses_required"),
    ],
)
def test_what_is_refused(problems: Problems, text: str, key: str) -> None:
    """Plain text over a network, two places in one, more witnesses than there are: refused, with the key."""
    assert [found for _, found, _ in problems(NODE + LOG % text)] == [f"audit.log.{key}"]


@pytest.mark.parametrize("origin", ["", "a b", "a+b"])
def test_names_that_no_log_has(problems: Problems, origin: str) -> None:
    """A name that would make a signature ambiguous is refused."""
    found = [key for _, key, _ in problems(NODE + f"audit: {{log: {{origin: '{origin}'}}}}\n")]
    assert found == ["audit.log.origin"]
