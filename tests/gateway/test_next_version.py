"""The tree of the next version is one: what runs from it is newer, and knows what this version does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gateway.store.postgres import schema
from tests.gateway.next_version import FIELD, VERSION, next_version

_TELLS = """
from importlib.metadata import version
import gateway, smsgw.client
from gateway.store.postgres import schema
from smsgw.v1 import message_pb2, message_service_pb2
print(version("smsgw"), len(schema.migrations()), gateway.__file__, smsgw.client.__file__)
for message in message_pb2.OutboundMessage, message_service_pb2.SendMessagesResponse:
    print(message.DESCRIPTOR.fields_by_name["next_version"].number)
"""


def test_what_runs_from_it(tmp_path: Path) -> None:
    """A process that is started with its environment has its version, its migrations, its fields and its sources."""
    tree = next_version(tmp_path / "next")
    environment = {**os.environ, **tree.environment()}
    done = subprocess.run(
        [sys.executable, "-c", _TELLS],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told, *fields = done.stdout.splitlines()
    version, steps, *files = told.split()
    assert (version, int(steps)) == (VERSION, len(schema.migrations()) + 1)
    assert all(file.startswith(str(tree.folder)) for file in files)
    assert fields == [str(FIELD)] * 2
    ran = subprocess.run(
        [Path(sys.executable).parent / "smsgw", "--version"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert VERSION in ran.stdout
