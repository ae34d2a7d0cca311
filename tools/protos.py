"""Generate the typed stubs from protos/ (`make protos`), or say whether they are up to date (`--check`).

The stubs are committed, so that a clone runs without a compiler. buf brings no remote plugin here: grpcio-tools holds
protoc, mypy-protobuf writes the .pyi files.
"""

from __future__ import annotations

import argparse
import filecmp
import importlib.resources
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
SOURCES = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.glob("smsgw/*/*.proto"))


def generate(into: Path) -> None:
    """Write the stubs of every source below `into`."""
    import google.rpc  # type: ignore[import-untyped]  # it ships no types

    wellknown = importlib.resources.files("grpc_tools") / "_proto"
    googleapis = Path(google.rpc.__path__[0]).parent.parent
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"-I{wellknown}", f"-I{googleapis}"]
    command += [f"--{kind}_out={into}" for kind in ("python", "grpc_python")]
    bin_dir = Path(sys.executable).parent
    for plugin in ("mypy", "mypy_grpc"):
        command += [f"--plugin=protoc-gen-{plugin}={bin_dir / f'protoc-gen-{plugin}'}", f"--{plugin}_out=quiet:{into}"]
    subprocess.run([*command, *SOURCES], check=True)


def stale(fresh: Path) -> list[str]:
    """Return the names of generated files that are missing, left over or different in the tree."""
    made = {str(path.relative_to(fresh)) for path in fresh.rglob("*_pb2*.py*")}
    kept = {str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*_pb2*.py*") if path.suffix != ".pyc"}
    differ = {name for name in made & kept if not filecmp.cmp(fresh / name, PROTOS / name, shallow=False)}
    return sorted((made ^ kept) | differ)


def main() -> int:
    """Run the command line; 0 when the stubs are (now) up to date, 1 when `--check` finds them stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the stubs are stale")
    if not parser.parse_args().check:
        generate(PROTOS)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        names = stale(Path(folder))
    for name in names:
        print(f"protos/{name}: stale; run `make protos`", file=sys.stderr)
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
