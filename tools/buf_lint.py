"""Lint protos/ with buf, offline (`make check`).

Our sources import google/rpc/status.proto. buf would fetch that from its own registry; here it comes from the package
googleapis-common-protos, the one that the generated code uses at run time. So a temporary workspace holds both, with
the rules of protos/buf.yaml, and only our part of it is judged: not smsgw/spiffe, whose names are the specification's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import google.rpc  # type: ignore[import-untyped]  # it ships no types
import yaml

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
IMPORTED = ("google/rpc/status.proto",)


def lay_out(workspace: Path) -> None:
    """Write a buf workspace of two modules, ours and the one that ours imports."""
    googleapis = Path(google.rpc.__path__[0]).parent.parent
    copies = {source.relative_to(PROTOS): source for source in PROTOS.glob("smsgw/v1/*.proto")}
    for module, files in (("protos", copies), ("googleapis", {Path(name): googleapis / name for name in IMPORTED})):
        for name, source in files.items():
            target = workspace / module / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    rules = yaml.safe_load((PROTOS / "buf.yaml").read_text())
    rules["modules"] = [{"path": "protos"}, {"path": "googleapis"}]
    (workspace / "buf.yaml").write_text(yaml.safe_dump(rules))


def main() -> int:
    """Lint, printing what buf says; its exit code."""
    buf = Path(sys.executable).parent / "buf"
    with tempfile.TemporaryDirectory(prefix="smsgw-buf-") as folder:
        lay_out(Path(folder))
        return subprocess.run([buf, "lint", "protos"], cwd=folder, check=False, timeout=60).returncode


if __name__ == "__main__":
    sys.exit(main())
