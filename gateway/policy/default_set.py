"""The policies that a new node starts with: shipped in the package, copied into a site, and the site's from then on."""

from __future__ import annotations

from importlib import resources

POLICY_SUFFIX = ".cedar"
SCHEMA_SUFFIX = ".cedarschema"


def default_files() -> dict[str, bytes]:
    """Return the files of the default set, by name."""
    folder = resources.files("gateway.policy") / "default"
    return {
        entry.name: entry.read_bytes()
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith((POLICY_SUFFIX, SCHEMA_SUFFIX))
    }


def default_schema() -> str:
    """Return the schema of this version, in Cedar's syntax."""
    schemas = [octets for name, octets in default_files().items() if name.endswith(SCHEMA_SUFFIX)]
    return b"\n".join(schemas).decode()
