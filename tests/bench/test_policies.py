"""The benchmark's policies."""

from __future__ import annotations

from pathlib import Path

from bench import policies
from gateway.api.authorizing import call_actions
from gateway.policy.default_set import default_files
from gateway.policy.loader import load_policies


def test_they_are_a_set_that_reads_what_sites_read(tmp_path: Path) -> None:
    """Beside the default set they can be loaded, are as many as they should be, and read sender, country and time."""
    for name, octets in default_files().items():
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_bytes(octets)
    tmp_path.chmod(0o700)
    policies.write(tmp_path)
    loaded = load_policies(tmp_path, call_actions())
    assert len(loaded.policies) == policies.POLICIES
    assert loaded.reads >= {"sender", "country", "minute"}
