"""Sets of policies for tests, loaded from files as a node does."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

from gateway.api.authorizing import call_actions
from gateway.policy.authorizer import Authorizer, Spend, spend_nothing
from gateway.policy.default_set import default_files
from gateway.policy.judge import Judge
from gateway.policy.loader import Policies, load_policies


def write_set(folder: Path, **texts: str) -> Path:
    """Write the default policies, or these texts under their names; returns the folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = {f"{name}.cedar": text.encode() for name, text in texts.items()} or default_files()
    for name, octets in files.items():
        (folder / name).write_bytes(octets)
        (folder / name).chmod(0o600)
    return folder


@functools.cache
def policies(text: str = "") -> Policies:
    """Return the default policies, or these."""
    with tempfile.TemporaryDirectory() as folder:
        written = write_set(Path(folder) / "policy", **({"test": text} if text else {}))
        return load_policies(written, call_actions())


def authorizer(text: str = "", *, spend: Spend = spend_nothing, **options: Any) -> Authorizer:
    """Return an authorizer for the default policies, or these; `options` are its judge's."""
    return Authorizer(Judge(policies(text), **options), spend=spend)
