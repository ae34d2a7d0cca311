"""The list of SVIDs to keep fresh."""

from __future__ import annotations

from pathlib import Path

import pytest

from certs.ca.wanted import out_paths, parse_duration, read_wanted
from certs.errors import AuthorityError, ProfileRefused, SvidFileError
from certs.spiffe_id import TrustDomain

DOMAIN = TrustDomain("example.org")
GOOD = """\
# what the gateway's host needs
- spiffe_id: spiffe://example.org/gateway
  dns: gateway.example.org
  ttl: 30m
  out: tls/gateway
- {spiffe_id: "spiffe://example.org/billing", out: /run/billing}
"""


def write(tmp_path: Path, text: str) -> Path:
    """Write a list."""
    path = tmp_path / "svids.yaml"
    path.write_text(text)
    return path


def test_good_list(tmp_path: Path) -> None:
    """Each entry is read, with its defaults, and paths are beside the file unless absolute."""
    gateway, billing = read_wanted(write(tmp_path, GOOD), DOMAIN)
    assert (str(gateway.request.spiffe_id), gateway.request.ttl_s) == ("spiffe://example.org/gateway", 1800)
    assert gateway.request.dns_names == ("gateway.example.org",)
    assert (gateway.cert_path, gateway.key_path) == (tmp_path / "tls/gateway.pem", tmp_path / "tls/gateway.key")
    assert (billing.request.dns_names, billing.request.ttl_s) == ((), 3600)
    assert billing.cert_path == Path("/run/billing.pem")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a list"),
        ("{}", "a list"),
        ("[]", "a list"),
        ("- [", "YAML"),
        ("- text", "line 1.*mapping"),
        ("- out: a", "line 1.*spiffe_id"),
        ("- spiffe_id: spiffe://example.org/a", "line 1.*out"),
        ("- spiffe_id: spiffe://example.org/a\n  out: a\n  dsn: x", "line 3.*`dsn`.*did you mean `dns`"),
        ("- spiffe_id: spiffe://example.org/a\n  out: a\n  colour: x", "line 3.*known are"),
        ("- spiffe_id: spiffe://example.org/a\n  out: a\n  out: b", "line 3.*twice"),
        ("- spiffe_id: spiffe://example.org/a\n  out: [a]", "line 2.*one text"),
        ("- spiffe_id: spiffe://example.org/a\n  out: a\n  ttl: 1w", "line 1.*duration"),
        ("- spiffe_id: spiffe://example.org/a\n  out: a\n  ttl: 48h", "line 1.*lifetime"),
        ("- spiffe_id: spiffe://other.org/a\n  out: a", "line 1.*other.org"),
        ("- spiffe_id: spiffe://EXAMPLE.org/a\n  out: a", "line 1.*trust domain"),
        ("- spiffe_id: spiffe://example.org/a\n  out: a\n  dns: '*.x'", "line 1.*DNS"),
        (GOOD + "- {spiffe_id: 'spiffe://example.org/c', out: tls/gateway}", "line 7.*`out`"),
        ("- {spiffe_id: 'spiffe://example.org/c', out: x}\n" * 1001, "1000"),
    ],
)
def test_bad_lists(tmp_path: Path, text: str, message: str) -> None:
    """A mistake is named with file, line and key."""
    with pytest.raises(AuthorityError, match=rf"svids\.yaml.*{message}"):
        read_wanted(write(tmp_path, text), DOMAIN)


def test_missing_list(tmp_path: Path) -> None:
    """A list that is not there is named."""
    with pytest.raises(SvidFileError, match=r"none\.yaml"):
        read_wanted(tmp_path / "none.yaml", DOMAIN)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("24h", 86_400), (" 1h ", 3600)])
def test_durations(text: str, seconds: int) -> None:
    """Whole seconds, minutes and hours are durations."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "1.5h", "-1h", "1 h", "1h30m", "1H", "٣h", "9999999s"])
def test_no_durations(text: str) -> None:
    """Everything else is none."""
    with pytest.raises(ProfileRefused, match="no duration"):
        parse_duration(text)


def test_names_with_dots() -> None:
    """A name with a dot keeps it."""
    assert out_paths(Path("tls/gw.example")) == (Path("tls/gw.example.pem"), Path("tls/gw.example.key"))
