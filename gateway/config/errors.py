"""What can be wrong with a configuration.

The tree:

    ConfigError        one or more problems, each with its file, line and key; raised once for all of them

It is the operator's fault, and nothing has been started when it is raised. Texts name files and keys, never secrets.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class ConfigProblem(NamedTuple):
    """One thing that is wrong: where (1-based line; 0: the file as a whole), which key (`a.b[0].c`), what to do."""

    file: Path
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{place}: {self.key}: {self.text}" if self.key else f"{place}: {self.text}"


class ConfigError(Exception):
    """The configuration cannot be used; `problems` has at least one entry, in the order of the file."""

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
