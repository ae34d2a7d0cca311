"""The report, as YAML that is read back."""

from __future__ import annotations

import yaml

from carrier.probe.conclusions import Finding
from carrier.probe.report import as_objects, as_yaml

FINDINGS = [
    Finding("bind.mode", "pair", "sure"),
    Finding("", "TLS", "sure: TLSv1.2"),
    Finding("tls.min_version", "1.2", "sure: it took TLSv1.2"),
    Finding("window", 10, "likely"),
    Finding("receipts.timezone", "+05:30", "sure"),
    Finding("ids.ignore_case", True, "likely: a # and a : in the reason"),
]


def test_what_was_known_stays_and_what_was_found_goes_before_it() -> None:
    """Sections are joined; a value keeps its type; reasons are comments."""
    known: list[tuple[str, object]] = [("name", "acme"), ("window", 50), ("tls.ca_file", "pki/ca.pem")]
    text = as_yaml(known, FINDINGS, sent=7)
    (carrier,) = yaml.safe_load(text)["carriers"]
    assert carrier == {
        "name": "acme",
        "window": 10,
        "tls": {"ca_file": "pki/ca.pem", "min_version": "1.2"},
        "bind": {"mode": "pair"},
        "receipts": {"timezone": "+05:30"},
        "ids": {"ignore_case": True},
    }
    assert "# TLS: sure: TLSv1.2" in text
    assert "from 7 submit_sm" in text


def test_for_machines() -> None:
    """Settings and facts apart."""
    assert as_objects(FINDINGS[:2]) == [
        {"setting": "bind.mode", "value": "pair", "why": "sure"},
        {"fact": "TLS", "why": "sure: TLSv1.2"},
    ]
