"""Others read our log: Go's golang.org/x/mod/sumdb, which verifies Go's own log of modules, and PyPI's aics-tlog. They
accept the log and its receipts, and nothing that was altered in them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway.audit.codec import frames
from gateway.store.contract import AuditCommit
from tests.client.receipt_samples import DOCUMENT, LIFE, NOTE, WITNESSES
from tests.client.receipt_samples import LOG as WITNESSED
from tests.gateway.audit.samples import SAMPLES, decision
from tests.gateway.cli.test_audit_proof import Site, life
from tests.gateway.proving.logs import MemoryLog
from tests.interop.conftest import ROOT
from tests.interop.log_cases import altered_logs, altered_receipts, case_of, grown, plain, receipt_case

__all__ = ["life"]  # a fixture

pytestmark = pytest.mark.interop
SOURCES = Path("/usr/share/gocode")
FOLDER = Path(__file__).parent
PACKAGES = ROOT / ".tools" / "interop-python312"
Verdicts = Callable[[Sequence[Mapping[str, Any]]], list[str]]


def _go(folder: Path) -> list[str]:
    """Build Go's judge from Debian's sources, without a network."""
    if not (SOURCES / "src/golang.org/x/mod/sumdb").is_dir():
        pytest.fail("golang.org/x/mod is not installed: run `make interop-tools`")
    environment = {
        "PATH": os.environ["PATH"],
        "GO111MODULE": "off",
        "GOPATH": str(SOURCES),
        "GOCACHE": str(folder / "cache"),
        "GOPROXY": "off",
    }
    program = folder / "judge"
    subprocess.run(["go", "build", "-o", program, FOLDER / "go" / "judge.go"], env=environment, check=True, timeout=300)
    return [str(program)]


def _aics() -> list[str]:
    """Return the command of PyPI's judge. It wants Python 3.12, which not every machine has."""
    named = PACKAGES / ".interpreter"
    if not named.is_file():
        pytest.skip("aics-tlog needs Python 3.12 or later, and `make interop-tools` has found none")
    return [named.read_text().strip(), str(FOLDER / "python312" / "log_judge.py")]


@pytest.fixture(scope="module", params=["go", "aics"])
def judge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """One judge after the other; gives the verdict on each of some cases."""
    command = _go(tmp_path_factory.mktemp("go")) if request.param == "go" else _aics()

    def verdicts(cases: Sequence[Mapping[str, Any]]) -> list[str]:
        lines = "".join(json.dumps(case) + "\n" for case in cases)
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGES)}
        done = subprocess.run(
            command, input=lines, capture_output=True, text=True, timeout=300, check=True, env=environment
        )
        found = done.stdout.splitlines()
        assert len(found) == len(cases)
        return found

    return verdicts


def test_our_logs_are_accepted(judge: Verdicts) -> None:
    """Logs of many sizes, their tiles, entries, checkpoints and the audit that they are made of are accepted; so are
    those with cosignatures of witnesses."""
    logs = [grown(range(1, size + 1)) for size in (1, 2, 3, 5, 8)]
    logs += [grown([100, size]) for size in (255, 256, 257, 307)]
    cases = [case_of(log.vkey, log.files(), log.notes, LIFE[: log.edge.size]) for log in logs]
    witnessed = case_of(WITNESSED.vkey, WITNESSED.files(), WITNESSED.notes, LIFE)
    cases += [plain(), {**witnessed, "Witnesses": [witness.key.vkey for witness in WITNESSES[:2]]}]
    assert WITNESSES[0].key.name in NOTE.decode()
    assert judge(cases) == ["accepted"] * len(cases)


def test_a_log_of_many_tiles(judge: Verdicts) -> None:
    """Where tiles have three levels (over 65,536 leaves), the paths and hashes are those that the judge expects."""
    log = MemoryLog()
    commits = [LIFE[1]._replace(seq=seq) for seq in range(1, 65_700)]
    for first in range(0, len(commits), 10_000):
        log.append(commits[first : first + 10_000])
    files = log.files()
    assert {"tile/2/000.p/1", "tile/0/255", "tile/0/256.p/163"} <= set(files)
    assert judge([case_of(log.vkey, files, log.notes, commits)]) == ["accepted"]


def test_every_altered_log_is_refused(judge: Verdicts) -> None:
    """Each bit flipped, each file cut, lengthened or gone, each change of the audit, each fork and foreign key."""
    names, cases = zip(*altered_logs(), strict=True)
    assert len(cases) > 300
    accepted = [name for name, verdict in zip(names, judge(cases), strict=True) if verdict == "accepted"]
    # aics-tlog reads no further than where a file should end, and a note without its last newline.
    assert [name for name in accepted if not name.endswith(" longer") and name != "checkpoint cut"] == []


def test_receipts(judge: Verdicts) -> None:
    """A receipt in its file form is accepted; with anything proven in it altered, or another key, it is refused."""
    cases = altered_receipts()
    assert len(cases) > 1000
    good, *verdicts = judge([receipt_case(DOCUMENT), *cases])
    assert good == "accepted"
    wrong = [case["Receipt"] for case, verdict in zip(cases, verdicts, strict=True) if verdict == "accepted"]
    assert [json.dumps(one)[:400] for one in wrong if one["checkpoint"].endswith("\n")] == []  # as above


def test_every_kind_of_record(judge: Verdicts) -> None:
    """Records of every kind are hashed alike by both."""
    commits = [AuditCommit(1, 1, len(SAMPLES), frames(SAMPLES)), AuditCommit(2, 2, 1, frames([decision()]))]
    log = grown([2], commits)
    assert judge([case_of(log.vkey, log.files(), log.notes, commits)]) == ["accepted"]


def test_a_real_node(judge: Verdicts, life: Site) -> None:
    """The folder that a node has published, its audit, and a receipt that it gave are accepted."""
    folder = life.folder / "data" / "audit-log"
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    commits = [AuditCommit(*row) for row in life.rows()]
    key, receipt = life.key.read_text().strip(), json.loads(life.receipt.read_text())
    log = case_of(key, files, [files["checkpoint"]], commits)
    assert judge([log, receipt_case(receipt, key)]) == ["accepted"] * 2
    edited = commits[2]._replace(at=commits[2].at + 1)
    other = case_of(key, files, [files["checkpoint"]], [*commits[:2], edited, *commits[3:]])
    assert judge([other])[0] != "accepted"
