"""What can be wrong with policies.

The tree:

    PoliciesRefused    one or more problems, each with file and line; raised once for all of them

It is the operator's fault, and the node does not start. Faults of evaluation are no exceptions: they are denials.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class PolicyProblem(NamedTuple):
    """One thing that is wrong: where (1-based line; 0: the file or folder as a whole), and what to do."""

    file: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


class PoliciesRefused(ValueError):
    """The policies cannot be used; `problems` has at least one entry, in the order of files and lines."""

    def __init__(self, problems: tuple[PolicyProblem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
