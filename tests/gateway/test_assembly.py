"""What the parts of a node are built with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from carrier.congestion import Sign
from carrier.link import SmppLink
from carrier.profile import CarrierProfile, Secret
from carrier.text.writing import Counting
from gateway.assembly import counting_of
from gateway.config.loader import load
from gateway.pipeline.linking import LinkMaker
from tests.carrier.driver import Driver


def test_the_links_of_an_account_share_its_pace() -> None:
    """What one bind of a carrier is told of congestion slows down all of them, and no other carrier's."""
    make = LinkMaker(Driver())
    acme, beta = make(_profile("acme")), make(_profile("beta"))
    one, other, apart = acme(0), acme(1), beta(0)
    assert isinstance(one, SmppLink)
    one.take_sign(Sign.TOO_MUCH, 0.0)
    assert one.pace == pytest.approx(250.0, rel=0.05)
    assert (other.pace, apart.pace) == (one.pace, 500.0)


CARRIERS = (
    {"segmentation": "udh16", "national_tables": ["turkish"]},
    {"default_alphabet": "latin1", "transliterate": True},
    {"default_alphabet": "gsm7_packed", "latin1": True},
)
TEXTS = (
    "",
    "x",
    "x" * 306,
    "ş" * 100,
    "ä" * 161,
    "\u201cquoted\u201d " * 15,
    "{}" * 77,
    "\u0928\u092e" * 60,
    "ñ" * 300,
)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_accepting_node_counts_as_others_do(tmp_path: Path, count: int) -> None:
    """A node that only accepts, and is told how the carriers write texts, counts what a node that has them counts."""
    texts = [dict(text) for text in CARRIERS[:count]]
    whole: dict[str, object] = {
        "carriers": [{**ACCOUNT, "name": f"c{n}", "text": text} for n, text in enumerate(texts)]
    }
    (tmp_path / "p").touch(mode=0o600)
    (tmp_path / "p").write_text("secret")
    accepting: dict[str, object] = {
        "node": {"trust_domain": "example.org", "role": "accept"},
        "store": {"engine": "postgres", "postgres": {"host": "/run/postgresql"}},
        "keys": {"wrapped": {"postgres": {"host": "/run/postgresql"}}, "kek": {"rsa": {"public_key_file": "kek.pub"}}},
    }
    told: dict[str, object] = {
        "messages": {"counted_for": [{"name": f"c{n}", "text": text} for n, text in enumerate(texts)]}
    }
    has, knows, nothing = (_counting(tmp_path, each) for each in (whole, accepting | told, accepting))
    counted = [(has.count(text), has.count_binary(len(text))) for text in TEXTS]
    assert [(knows.count(text), knows.count_binary(len(text))) for text in TEXTS] == counted
    assert [knows.estimate(text) for text in TEXTS] == [has.estimate(text) for text in TEXTS]
    assert [(nothing.count(text), nothing.count_binary(len(text))) for text in TEXTS] != counted


ACCOUNT = {"host": "127.0.0.1", "system_id": "me", "password_file": "./p", "insecure": True}
IDENTITY: dict[str, object] = {
    "node": {"trust_domain": "example.org"},
    "identity": {"bundles": {"example.org": "bundle.pem"}},
    "tenants": [{"name": "demo", "spiffe_ids": ["spiffe://example.org/demo"]}],
}


def _counting(folder: Path, document: dict[str, object]) -> Counting:
    file = folder / "smsgw.yaml"
    file.write_text(json.dumps(IDENTITY | document))  # JSON is YAML
    return counting_of(load(file))


def _profile(name: str) -> CarrierProfile:
    return CarrierProfile(name=name, host="h", port=1, system_id="s", password=Secret(b""), binds=2)
