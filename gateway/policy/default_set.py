"""The policies that a new node starts with: shipped in the package, copied into a site, and the site's from then on."""

from __future__ import annotations

from importlib import resources

POLICY_SUFFIX = ".cedar"
EXPECTATIONS = "expectations.yaml"  # what is expected of the set: `smsgw policy test`


def default_files() -> dict[str, bytes]:
    """Return the files of the default set, by name."""
    folder = resources.files("gateway.policy") / "default"
    return {
        entry.name: entry.read_bytes()
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(POLICY_SUFFIX) or entry.name == EXPECTATIONS
    }
