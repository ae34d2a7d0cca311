"""The version after this one, as a tree of its own: what a release changes, and nothing that this version knows of.

It is a copy of the sources with a migration more, a newer format of the keyring, a field more in a request and in a
reply, a higher version, and the few lines that use them. Processes run from it by PYTHONPATH, which goes before what is
installed; tests themselves stay with this version.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from gateway.sealing import keyring_schema
from gateway.store.postgres import schema

ROOT = Path(__file__).resolve().parents[2]
VERSION = "9999.0"
FIELD = 9999  # of the new fields
SAYS = "of the next version"  # what they hold
_PARTS = ("gateway", "carrier", "certs", "visibility", "protos")
_MIGRATION = """-- usable from: {number}
-- What a version adds that the one before can live with.
ALTER TABLE message ADD COLUMN next_version bigint NOT NULL DEFAULT 0;
CREATE INDEX message_next_version ON message (next_version) WHERE next_version > 0;
"""
_KEYRING = f"""
ALTER TABLE {keyring_schema.SCHEMA}.wrapped_key ADD COLUMN next_version bigint NOT NULL DEFAULT 0;
ALTER TABLE {keyring_schema.SCHEMA}.format ADD COLUMN usable_from integer;
INSERT INTO {keyring_schema.SCHEMA}.format VALUES ({keyring_schema.VERSION + 1}, {keyring_schema.VERSION});
"""  # noqa: S608 -- constants of this module
# Of each file, text of this version that stands there once, and what stands there in the next one.
_CHANGES = {
    "protos/smsgw/v1/message.proto": [
        ("message OutboundMessage {\n", f"message OutboundMessage {{\n  string next_version = {FIELD};\n"),
    ],
    "protos/smsgw/v1/message_service.proto": [
        ("message SendMessagesResponse {\n", f"message SendMessagesResponse {{\n  string next_version = {FIELD};\n"),
    ],
    "protos/smsgw/client/convert.py": [
        ("pb.OutboundMessage(\n", f"pb.OutboundMessage(\n        next_version={SAYS!r},\n"),
    ],
    "gateway/api/message_service.py": [
        ("pb.SendMessagesResponse()\n", f"pb.SendMessagesResponse(next_version={SAYS!r})\n"),
    ],
    "gateway/sealing/keyring_schema.py": [
        (f"\nVERSION = {keyring_schema.VERSION}\n", f"\nVERSION = {keyring_schema.VERSION + 1}\n"),
        ('UPGRADE = f"""\n', f'UPGRADE = f"""{_KEYRING}"""\nBEFORE = f"""\n'),
    ],
    "gateway/sealing/postgres_keyring.py": [
        ("    if _version(connection) == 1:\n", f"    if _version(connection) == {keyring_schema.VERSION}:\n"),
        (
            "        if _version(connection) == 1:  #",
            f"        if _version(connection) == {keyring_schema.VERSION}:  #",
        ),
    ],
}
_STUBS = [name.removeprefix("protos/") for name in _CHANGES if name.endswith(".proto")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Sources of a version. `folder` None: those that are installed."""

    folder: Path | None = None

    def environment(self) -> Mapping[str, str]:
        """Return what a process has to have in its environment to run from it."""
        return {} if self.folder is None else {"PYTHONPATH": f"{self.folder}:{self.folder / 'protos'}"}


INSTALLED = Tree()


def next_version(folder: Path) -> Tree:
    """Make the tree of the next version in `folder`, which must not exist yet."""
    folder.mkdir()
    for part in _PARTS:
        shutil.copytree(ROOT / part, folder / part)
    for name, changes in _CHANGES.items():
        for before, after in changes:
            _change(folder / name, before, after)
    _compile(folder / "protos", _STUBS)
    steps = len(schema.migrations())
    migrations = folder / "gateway" / "store" / "postgres" / "migrations"
    (migrations / f"{steps + 1:04d}_next_version.sql").write_text(_MIGRATION.format(number=steps))
    _name(folder)
    return Tree(folder=folder)


def _change(path: Path, before: str, after: str) -> None:
    """Write `after` in the one place where `before` stands."""
    text = path.read_text()
    if text.count(before) != 1:
        raise RuntimeError(f"{path.name} has changed: {before.strip()!r} stands in it {text.count(before)} times")
    path.write_text(text.replace(before, after))


def _compile(protos: Path, sources: list[str]) -> None:
    """Generate the stubs of these sources."""
    site = Path(str(metadata.distribution("grpcio-tools").locate_file("")))
    paths = [f"-I{protos}", f"-I{site / 'grpc_tools' / '_proto'}", f"-I{site}"]
    command = [sys.executable, "-m", "grpc_tools.protoc", *paths, f"--python_out={protos}", *sources]
    subprocess.run(command, check=True, timeout=60)


def _name(folder: Path) -> None:
    """Give it what says which version is installed, and which commands it has."""
    installed = metadata.distribution("smsgw")
    made = folder / f"smsgw-{VERSION}.dist-info"
    made.mkdir()
    for name in ("METADATA", "entry_points.txt"):
        text = installed.read_text(name)
        if text is None:
            raise RuntimeError(f"smsgw is installed without {name}")
        (made / name).write_text(text.replace(f"\nVersion: {installed.version}\n", f"\nVersion: {VERSION}\n"))
