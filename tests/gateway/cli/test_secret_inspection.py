"""`smsgw check` and `smsgw serve` hold every secret file to the same rules, whoever opens it later."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from gateway.cli.finding import Finding
from gateway.cli.secret_inspection import look_at_secrets
from gateway.config.secret_kinds import SecretSetting
from tests.gateway.cli.conftest import Invoke

Spoil = Callable[[Path], object]


@pytest.fixture
def configured(site: Path) -> Path:
    """A site whose carrier, database and collector have keys that only TLS libraries open."""
    (site / "tls").mkdir(mode=0o700)
    (site / "keys/acme.password").write_text("hunter2")
    (site / "keys/acme.password").chmod(0o600)
    for name in ("carrier.key", "collector.key"):
        shutil.copy(site / "pki/gateway.key", site / "tls" / name)
    document = yaml.safe_load((site / "smsgw.yaml").read_text())
    account = {"name": "acme", "host": "smpp.example", "system_id": "me", "password_file": "keys/acme.password"}
    tls = {"certificate_file": "pki/gateway.pem", "key_file": "tls/carrier.key"}
    document["carriers"] = [{**account, "tls": tls}]
    otlp = {"endpoint": "c.example:4317", "certificate_file": "pki/gateway.pem", "key_file": "tls/collector.key"}
    document.setdefault("telemetry", {})["otlp"] = otlp
    (site / "smsgw.yaml").write_text(yaml.safe_dump(document))
    return site


def _problems(site: Path, invoke: Invoke) -> dict[str, str]:
    answer = json.loads(invoke("check", "--config", str(site / "smsgw.yaml"), "--json").stdout)
    return {finding["subject"]: finding["problem"] for finding in answer["findings"] if not finding["ok"]}


LOOSE: list[tuple[str, str, str, Spoil]] = [
    ("carrier's key", "carriers[0].tls.key_file", "chmod 600", lambda site: (site / "tls/carrier.key").chmod(0o640)),
    ("by everybody", "carriers[0].tls.key_file", "mode 0604", lambda site: (site / "tls/carrier.key").chmod(0o604)),
    ("folder", "collector", "chmod go-w", lambda site: (site / "tls").chmod(0o770)),
    ("collector's key", "collector", "chmod 600", lambda site: (site / "tls/collector.key").chmod(0o644)),
    ("folder of the SVID's key", "api.svid_key_file", "chmod go-w", lambda site: (site / "pki").chmod(0o720)),
    ("index key", "index key", "chmod 600", lambda site: (site / "keys/index.key").chmod(0o660)),
    ("deny list key", "deny list", "chmod 600", lambda site: (site / "keys/deny-list.key").chmod(0o644)),
]


def test_all_private(configured: Path, invoke: Invoke) -> None:
    """Keys that are private are no matter of this look."""
    assert not {subject for subject in _problems(configured, invoke) if subject.endswith("_file")}


@pytest.mark.parametrize(("subject", "text", "spoil"), [row[1:] for row in LOOSE], ids=[row[0] for row in LOOSE])
def test_loose(configured: Path, invoke: Invoke, subject: str, text: str, spoil: Spoil) -> None:
    """A secret that others can get at, or exchange, is a problem of its setting, and the node does not start."""
    spoil(configured)
    problems = _problems(configured, invoke)
    assert text in problems[subject]
    started = invoke("serve", "--config", str(configured / "smsgw.yaml"))
    assert started.exit_code == 2
    assert text in started.stderr


def test_what_a_part_said_is_not_said_again(tmp_path: Path) -> None:
    """One file is one problem."""
    file = tmp_path / "key"
    file.touch()
    file.chmod(0o644)
    secret = SecretSetting("store.index_key_file", file)
    (told,) = look_at_secrets([secret], [])
    assert not told.ok
    assert told.subject == "store.index_key_file"
    assert list(look_at_secrets([secret], [Finding("index key", "", f"the key: {told.problem}", "close it")])) == []
    assert list(look_at_secrets([secret], [Finding("index key", "", f"{file} is no key", "make one")])) == [told]


def test_what_is_missing_is_left_to_its_part(tmp_path: Path) -> None:
    """A default that nobody uses need not be there."""
    (told,) = look_at_secrets([SecretSetting("api.svid_key_file", tmp_path / "gone")], [])
    assert told.ok
    assert told.found == "0 of 1 are there, private"
