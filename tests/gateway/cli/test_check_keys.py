"""What `smsgw check`, and the start of a node, find of sealing keys and the data keys that they wrapped."""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path

import pytest

from gateway.cli.inspection import before_start
from gateway.config.loader import load
from gateway.sealing.data_keys import DataKeys, Use
from gateway.sealing.folder_keyring import WRAPPED_KEYS, FolderKeyring
from gateway.sealing.providers import FileKeyProvider
from tests.gateway.cli.test_check import findings

DAY_S = 86_400


def wrap(site: Path, *, days_ago: float = 0) -> str:
    """Wrap a data key as a node of this site would have done some days ago; the id of its sealing key."""
    provider = FileKeyProvider(site / "keys/kek.key")
    keyring = FolderKeyring(site / "data" / WRAPPED_KEYS)
    DataKeys(node="n", provider=provider, keyring=keyring, wall=lambda: time.time() - days_ago * DAY_S).make(
        [Use("demo", "content")]
    )
    return provider.kek_id


def replace_key(site: Path, *, older: bool) -> None:
    """Put another sealing key in place; `older`: and list the one that was there."""
    (site / "keys/kek.key").rename(site / "keys/old.key")
    (site / "keys/kek.key").touch(mode=0o600)
    (site / "keys/kek.key").write_bytes(os.urandom(32))
    config = site / "smsgw.yaml"
    if older:
        text = config.read_text()
        assert "older_kek_files: []" in text
        config.write_text(text.replace("older_kek_files: []", "older_kek_files: [keys/old.key]"))


def problems_at_start(site: Path) -> set[str]:
    """Return the subjects for which a node would not start."""
    found = before_start(load(site / "smsgw.yaml"), dt.datetime.now(dt.UTC))
    return {finding.subject for finding in found if not finding.ok}


def test_sound(site: Path) -> None:
    """The key's id and the number of data keys are told."""
    assert "none yet" in str(findings(site)["data keys"]["found"])
    kek_id = wrap(site)
    wrap(site)
    found = findings(site)
    assert kek_id in str(found["sealing key"]["found"])
    assert "2 wrapped by 1 key" in str(found["data keys"]["found"])


def test_replaced_key(site: Path) -> None:
    """A sealing key that was replaced and not listed stops the start: messages that wait could not be opened."""
    kek_id = wrap(site)
    replace_key(site, older=False)
    finding = findings(site)["data keys"]
    assert kek_id in str(finding["problem"])
    assert "older_kek_files" in str(finding["problem"])
    assert problems_at_start(site) == {"data keys"}


def test_older_key_listed(site: Path) -> None:
    """With the older key listed all is well, and both wraps are proven."""
    wrap(site)
    replace_key(site, older=True)
    wrap(site)
    found = findings(site)
    assert "1 older" in str(found["sealing key"]["found"])
    assert "2 wrapped by 2 keys" in str(found["data keys"]["found"])
    assert problems_at_start(site) == set()


@pytest.mark.parametrize(("days_ago", "stops"), [(1, True), (40, False)])
def test_long_ago(site: Path, days_ago: float, stops: bool) -> None:
    """The check looks at every day; the start only where a message could still wait to be sent."""
    wrap(site, days_ago=days_ago)
    if not stops:
        for day in range(1, 17):
            (site / "data" / WRAPPED_KEYS / f"2100-01-{day:02d}.keys").touch()
    replace_key(site, older=False)
    assert not findings(site)["data keys"]["ok"]
    assert problems_at_start(site) == ({"data keys"} if stops else set())


def test_damaged_wrap(site: Path) -> None:
    """A wrap that was altered is found."""
    wrap(site)
    (file,) = (site / "data" / WRAPPED_KEYS).iterdir()
    file.write_text(file.read_text().replace('"tenant":"demo"', '"tenant":"else"'))
    assert "altered" in str(findings(site)["data keys"]["problem"])
