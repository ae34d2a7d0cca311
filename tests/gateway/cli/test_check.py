"""`smsgw check` finds what is wrong with all that a configuration names, and `smsgw serve` refuses the same."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest
import yaml
from click.testing import CliRunner

from certs.ca.authority import Authority
from certs.spiffe_id import TrustDomain
from gateway.cli.check import check
from gateway.cli.inspection import before_start
from gateway.cli.main import main
from gateway.config.loader import load
from tests.certificates import TestAuthority
from tests.gateway.cli.conftest import DOMAIN, Invoke

Break = Callable[[Path], None]


def findings(site: Path) -> dict[str, dict[str, object]]:
    """Return the findings by subject, and hold the exit code to them."""
    result = CliRunner().invoke(check, ["--config", str(site / "smsgw.yaml"), "--json"])
    answer = json.loads(result.stdout)
    assert result.exit_code == (0 if answer["ok"] else 2)
    return {finding["subject"]: finding for finding in answer["findings"]}


def test_sound_site(site: Path) -> None:
    """What init and ca made is in order."""
    found = findings(site)
    assert all(finding["ok"] for finding in found.values())
    keys = {"index key", "sealing key", "data keys", "deny list"}
    others = {
        "configuration",
        "policies",
        "SVID",
        "audit log",
        "metrics page",
        "data folder",
        "database",
        "secret files",
    }
    assert set(found) == {*keys, f"bundle of {DOMAIN}", *others}


def test_a_carrier_in_plain_text_is_shown_as_such(site: Path) -> None:
    """Before anything runs it is said of which carrier passwords and texts can be read on the way."""
    (site / "secret").touch(mode=0o600)
    (site / "secret").write_text("s3cret")
    document = yaml.safe_load((site / "smsgw.yaml").read_text())
    account = {"host": "127.0.0.1", "system_id": "me", "password_file": "secret"}
    document["carriers"] = [{"name": "acme", **account}, {"name": "bare", **account, "insecure": True}]
    (site / "smsgw.yaml").write_text(yaml.safe_dump(document))
    found = findings(site)
    told = ["insecure: plain text" in str(found[f"carrier {name}"]) for name in ("acme", "bare")]
    assert told == [False, True]


def _foreign_database(site: Path) -> None:
    apsw.Connection(str(site / "data/smsgw.db")).execute("PRAGMA application_id = 7; CREATE TABLE t (a)").close()


def _newer_database(site: Path) -> None:
    apsw.Connection(str(site / "data/smsgw.db")).execute("PRAGMA user_version = 1000").close()


def _other_authority(site: Path) -> None:
    Authority.create(site / "other", TrustDomain(DOMAIN), site / "other", dt.datetime.now(dt.UTC))
    (site / "other/root.pem").replace(site / "ca/root.pem")


def _development(site: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    Authority.create(site / "other", TrustDomain(DOMAIN), site / "other", now, development=True)
    (site / "other/root.pem").replace(site / "ca/root.pem")


def _swap_keys(site: Path) -> None:
    (site / "pki/demo.key").replace(site / "pki/gateway.key")


def _client_svid(site: Path) -> None:
    _swap_keys(site)
    (site / "pki/demo.pem").replace(site / "pki/gateway.pem")


BROKEN: list[tuple[str, str, str, Break]] = [
    ("key gone", "index key", "does not exist", lambda site: (site / "keys/index.key").unlink()),
    ("key open", "index key", "chmod 600", lambda site: (site / "keys/index.key").chmod(0o640)),
    ("key short", "index key", "has 5 bytes", lambda site: void((site / "keys/index.key").write_bytes(b"12345"))),
    ("sealing key gone", "sealing key", "does not exist", lambda site: (site / "keys/kek.key").unlink()),
    ("sealing key open", "sealing key", "chmod 600", lambda site: (site / "keys/kek.key").chmod(0o644)),
    ("sealing key short", "sealing key", "has 5 bytes", lambda site: void((site / "keys/kek.key").write_text("12345"))),
    ("bundle gone", f"bundle of {DOMAIN}", "root.pem", lambda site: (site / "ca/root.pem").unlink()),
    ("bundle bad", f"bundle of {DOMAIN}", "certificate", lambda site: void((site / "ca/root.pem").write_text("x"))),
    ("development", f"bundle of {DOMAIN}", "development CA", _development),
    ("svid gone", "SVID", "gateway.pem", lambda site: (site / "pki/gateway.pem").unlink()),
    ("svid key open", "SVID", "0644", lambda site: (site / "pki/gateway.key").chmod(0o644)),
    ("other key", "SVID", "key", _swap_keys),
    ("other authority", "SVID", "", _other_authority),
    ("no DNS name", "SVID", "no DNS name", _client_svid),
    ("data open", "data folder", "open to others", lambda site: (site / "data").chmod(0o755)),
    ("foreign database", "database", "another program", _foreign_database),
    ("newer database", "database", "schema 1000", _newer_database),
    ("no database", "database", "", lambda site: void((site / "data/smsgw.db").write_text("text, no database" * 50))),
]


def void(_result: object) -> None:
    """Make a statement of an expression."""


@pytest.mark.parametrize(("subject", "text", "spoil"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_broken_site(site: Path, subject: str, text: str, spoil: Break) -> None:
    """Each thing that can be wrong is a problem with advice, under its own name."""
    spoil(site)
    finding = findings(site)[subject]
    assert not finding["ok"]
    assert text in str(finding["problem"])
    assert finding["advice"]


def test_serve_refuses_what_check_finds(site: Path, invoke: Invoke) -> None:
    """The development CA, like any problem of keys and certificates, keeps a node from starting."""
    _development(site)
    result = invoke("serve", "--config", str(site / "smsgw.yaml"))
    assert result.exit_code == 2
    assert "development CA" in result.stderr
    assert "smsgw check" in result.stderr


def test_development_is_allowed_where_it_says_so(site: Path) -> None:
    """With environment: development the same bundle is fine."""
    _development(site)
    config = site / "smsgw.yaml"
    config.write_text(config.read_text().replace("environment: production", "environment: development"))
    assert findings(site)[f"bundle of {DOMAIN}"]["ok"]


def test_certificate_that_ended(site: Path) -> None:
    """An expired SVID is a problem, told with the command that makes a new one."""
    settings = load(site / "smsgw.yaml")
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)
    (finding,) = [finding for finding in before_start(settings, later) if finding.subject == "SVID"]
    assert "expired" in finding.problem
    assert "smsgw ca issue" in finding.advice


def test_carriers_files(site: Path) -> None:
    """A carrier's TLS files are loaded; the system's trust store is fine."""
    (site / "keys/acme.password").write_text("pw")
    config = site / "smsgw.yaml"
    carriers = (
        "carriers:\n"
        "  - {name: a, host: smpp.example, system_id: i, password_file: keys/acme.password}\n"
        "  - {name: b, host: h, system_id: i, password_file: keys/acme.password, tls: {ca_file: gone.pem}}\n"
        "  - {name: c, host: 127.0.0.1, system_id: i, password_file: keys/acme.password, insecure: true}\n"
    )
    config.write_text(config.read_text().replace("carriers: []\n", carriers))
    found = findings(site)
    assert "expects smpp.example" in str(found["carrier a"]["found"])
    assert "gone.pem" in str(found["carrier b"]["problem"])
    assert "plain text" in str(found["carrier c"]["found"])


def test_wrong_configuration(site: Path, invoke: Invoke) -> None:
    """Mistakes in the file are rows of their own, in text and JSON, and end the look."""
    (site / "smsgw.yaml").write_text("nod: {}\nlog: {level: loud}\n")
    result = invoke("check", "--config", str(site / "smsgw.yaml"))
    assert result.exit_code == 2
    assert "smsgw.yaml:1  nod: is no setting; did you mean node?" in result.stdout
    assert "smsgw.yaml:2" in result.stdout
    assert "smsgw.yaml:2" in findings(site)


def test_text_says_what_to_do(site: Path) -> None:
    """Each problem is followed by its advice."""
    (site / "keys/index.key").unlink()
    result = CliRunner().invoke(main, ["check", "--config", str(site / "smsgw.yaml")])
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("problem  index key"))
    assert "→ smsgw init" in lines[at + 1]


def _federates(site: Path, **changes: object) -> None:
    """Have the site federate with another trust domain."""
    document = yaml.safe_load((site / "smsgw.yaml").read_text())
    entry = {"trust_domain": "partner.example", "url": "https://b.partner.example/bundle.json", **changes}
    document["identity"]["federation"] = [entry]
    (site / "smsgw.yaml").write_text(yaml.safe_dump(document))


def test_federation_that_holds_nothing_yet(site: Path) -> None:
    """It is said that nobody of another trust domain is believed before the first fetch; no connection is made."""
    _federates(site)
    found = findings(site)["federation with partner.example"]
    assert found["ok"]
    assert "nobody of it is believed until it is fetched" in str(found["found"])


def test_federation_with_a_bundle_to_begin_with(site: Path) -> None:
    """The operator's bundle is looked at, and nothing is written; a broken one, or none, is a problem."""
    (site / "partner.pem").write_bytes(TestAuthority("partner.example").bundle_pem)
    _federates(site, bootstrap_file="partner.pem")
    assert "1 authorities" in str(findings(site)["federation with partner.example"]["found"])
    assert not (site / "data" / "federation").exists()
    (site / "partner.pem").write_text("{")
    assert "partner.pem" in str(findings(site)["federation with partner.example"]["problem"])
    assert any(
        "partner.pem" in finding.problem for finding in before_start(load(site / "smsgw.yaml"), dt.datetime.now(dt.UTC))
    )
    _federates(site, ca_file="nothing.pem")
    assert "nothing.pem" in str(findings(site)["federation with partner.example"]["problem"])
