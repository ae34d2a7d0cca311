"""The kinds of values that a configuration holds: how each is read from its text, written back, and described.

The schema decides what a scalar is, not YAML's guesses: `sender: 0123`, `name: yes` or `+4915112345678` are texts where
a text is wanted. A kind takes the text as it stands in the file and returns the value, or raises ValueError with a
sentence for the operator. Nothing here opens a file.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,3})?(?:ms|s|m|h|d)){1,5}", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_PACE = re.compile(r"([0-9][0-9_]{0,9})/(s|m|h|d)", re.ASCII)
_MOST_AT_A_PACE = 1_000_000
_HOST = re.compile(r"\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Scalar(Protocol):
    """A kind of value that is one scalar in the file."""

    @property
    def quotable(self) -> bool:
        """Whether the value may stand in quotes."""

    def read(self, text: str) -> object:
        """Return the value that `text` stands for. Raises ValueError, which says what is wanted."""

    def show(self, value: object) -> str:
        """Return `value` as it is written in the file."""

    def describe(self) -> str:
        """Return kind and range for people: `duration, 1s to 1h`."""


class Pace(NamedTuple):
    """So many in a period of microseconds."""

    times: int
    period_us: int


class Address(NamedTuple):
    """Host and port; `str()` gives `host:port`."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A line of text that matches `pattern` as a whole; `meaning` says in words what that is."""

    meaning: str = "text"
    pattern: str = r".+"
    low: int = 0
    high: int = 255
    quotable: bool = True

    def read(self, text: str) -> str:
        """Return the text."""
        if _CONTROL.search(text):
            raise ValueError(f"wants {self.meaning}, without control characters")
        if not self.low <= len(text) <= self.high:
            raise ValueError(f"wants {self.meaning} of {self.low} to {self.high} characters; this has {len(text)}")
        if text and not re.fullmatch(self.pattern, text):
            raise ValueError(f"wants {self.meaning}; {clip(text)} is not")
        return text

    def show(self, value: object) -> str:
        """Return the text, in quotes where YAML would take it for something else."""
        text = str(value)
        plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*", text)
        return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def describe(self) -> str:
        """Return what the text is."""
        return self.meaning


@dataclass(frozen=True, slots=True, kw_only=True)
class Integer:
    """A whole number of `unit` from `low` to `high`."""

    low: int
    high: int
    unit: str = ""
    quotable: bool = False

    def read(self, text: str) -> int:
        """Return the number; `1_000` is 1000."""
        if not re.fullmatch(r"-?[0-9][0-9_]{0,18}", text):
            raise ValueError(f"wants a whole number, {self._range()}; {clip(text)} is none")
        value = int(text.replace("_", ""))
        if not self.low <= value <= self.high:
            raise ValueError(f"wants {self._range()}; {value} is outside")
        return value

    def show(self, value: object) -> str:
        """Return the digits."""
        return str(value)

    def describe(self) -> str:
        """Return unit and range."""
        return f"whole number, {self._range()}"

    def _range(self) -> str:
        return f"{self.low} to {self.high} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number of `unit` from `low` to `high`, with or without a fraction."""

    low: float
    high: float
    unit: str = ""
    quotable: bool = False

    def read(self, text: str) -> float:
        """Return the number."""
        if not re.fullmatch(r"-?[0-9]{1,15}(?:\.[0-9]{1,9})?", text):
            raise ValueError(f"wants a number, {self._range()}; {clip(text)} is none")
        value = float(text)
        if not self.low <= value <= self.high:
            raise ValueError(f"wants {self._range()}; {text} is outside")
        return value

    def show(self, value: object) -> str:
        """Return the number, without a fraction where it has none."""
        return f"{value:g}"

    def describe(self) -> str:
        """Return unit and range."""
        return f"number, {self._range()}"

    def _range(self) -> str:
        return f"{self.low:g} to {self.high:g} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """A time with its unit (`500ms`, `30s`, `1h30m`, `7d`) from `low` to `high`; the value is in seconds."""

    low: str
    high: str
    quotable: bool = True

    def read(self, text: str) -> float:
        """Return seconds."""
        if not _DURATION.fullmatch(text):
            hint = f" Write {text}s for seconds." if re.fullmatch(r"[0-9]{1,9}", text) else ""
            raise ValueError(f"wants a duration such as 30s, 5m or 1h; {clip(text)} is none.{hint}")
        value = seconds(text)
        if not seconds(self.low) <= value <= seconds(self.high):
            raise ValueError(f"wants {self.low} to {self.high}; {text} is outside")
        return value

    def show(self, value: object) -> str:
        """Return the shortest form in one unit."""
        return duration_text(float(str(value)))

    def describe(self) -> str:
        """Return the range."""
        return f"duration, {self.low} to {self.high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PerTime:
    """How many in a second, minute, hour or day: `50/s`, `60/h`; at most a million."""

    quotable: bool = True

    def read(self, text: str) -> Pace:
        """Return count and period."""
        found = _PACE.fullmatch(text)
        if not found or not 1 <= int(found[1].replace("_", "")) <= _MOST_AT_A_PACE:
            raise ValueError(f"wants {self.describe()}; {clip(text)} is not")
        return Pace(int(found[1].replace("_", "")), _UNITS_MS[found[2]] * 1000)

    def show(self, value: object) -> str:
        """Return the count and its period as they are written."""
        if isinstance(value, Pace):
            unit = next(unit for unit, unit_ms in _UNITS_MS.items() if unit_ms * 1000 == value.period_us)
            return f"{value.times}/{unit}"
        return str(value)

    def describe(self) -> str:
        """Return what is wanted."""
        return "a number in a time, as 50/s, 100/m, 60/h or 1000/d"


def seconds(text: str) -> float:
    """Return the seconds of a well-formed duration."""
    return sum(round(float(number) * _UNITS_MS[unit]) for number, unit in _DURATION_PART.findall(text)) / 1000


def duration_text(value_s: float) -> str:
    """Return seconds as a duration in the largest unit that divides it."""
    value_ms = round(value_s * 1000)
    for unit in ("d", "h", "m", "s"):
        if value_ms and value_ms % _UNITS_MS[unit] == 0:
            return f"{value_ms // _UNITS_MS[unit]}{unit}"
    return f"{value_ms}ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """true or false."""

    quotable: bool = False

    def read(self, text: str) -> bool:
        """Return the truth value."""
        if text not in {"true", "false"}:
            raise ValueError(f"wants true or false; {clip(text)} is neither")
        return text == "true"

    def show(self, value: object) -> str:
        """Return true or false."""
        return "true" if value else "false"

    def describe(self) -> str:
        """Return what may stand there."""
        return "true or false"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the values of an enumeration of texts."""

    options: type[enum.StrEnum]
    quotable: bool = True

    def read(self, text: str) -> enum.StrEnum:
        """Return the member."""
        try:
            return self.options(text)
        except ValueError:
            raise ValueError(f"wants {self.describe()}; {clip(text)} is none of them") from None

    def show(self, value: object) -> str:
        """Return the member's value."""
        return str(value)

    def describe(self) -> str:
        """Return the alternatives."""
        return " or ".join(str(option) for option in self.options)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileName:
    """A path; a relative one is taken from the folder of the configuration file, or from `node.data_dir`."""

    in_data_dir: bool = False
    quotable: bool = True

    def read(self, text: str) -> Path:
        """Return the path as written."""
        if not text or _CONTROL.search(text) or len(text) > 1024:
            raise ValueError("wants the path of a file")
        return Path(text)

    def show(self, value: object) -> str:
        """Return the path."""
        return Text().show(value)

    def describe(self) -> str:
        """Return from where it is taken."""
        return "path, relative to node.data_dir" if self.in_data_dir else "path, relative to this file"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPort:
    """An address to listen on: `127.0.0.1:7443`, `[::1]:7443`; port 0 takes a free one."""

    quotable: bool = True

    def read(self, text: str) -> Address:
        """Return host and port."""
        host, colon, port = text.rpartition(":")
        if not colon or not _HOST.fullmatch(host) or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
            raise ValueError(f"wants host:port, as 127.0.0.1:7443 or [::1]:7443; {clip(text)} is not")
        return Address(host.strip("[]"), int(port))

    def show(self, value: object) -> str:
        """Return host:port, in quotes where YAML would see a list."""
        return f'"{value}"' if str(value).startswith("[") else str(value)

    def describe(self) -> str:
        """Return what is wanted."""
        return "host:port"


@dataclass(frozen=True, slots=True)
class Items:
    """A list of at most `high` values of one kind."""

    kind: Kind
    high: int
    low: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping from names to values, at most `high`."""

    key: Scalar
    value: Scalar
    high: int
    low: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping with fixed keys: the settings of the dataclass `schema`."""

    schema: type
    optional: bool = False  # left out: None, instead of a section of defaults
    whole: bool = False  # a reload takes it over as one setting


Kind = Scalar | Items | Table | Section

NAME = Text(meaning="a name of letters, digits, dots and dashes", pattern=r"[A-Za-z0-9][A-Za-z0-9._-]*", low=1, high=63)
SPIFFE_ID = Text(
    meaning="a SPIFFE ID, as spiffe://example.org/demo",
    pattern=r"spiffe://[a-z0-9._-]+(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+",  # SPIFFE-ID §2.2
    low=1,
    high=2048,
)
TRUST_DOMAIN = Text(
    meaning="a SPIFFE trust domain, in lower case", pattern=r"[a-z0-9._-]+", low=1, high=255
)  # SPIFFE-ID §2.1
HOST_NAME = Text(meaning="a host name or an IP address", pattern=r"[A-Za-z0-9:][A-Za-z0-9:._-]*", low=1, high=253)


def clip(text: str) -> str:
    """Return a value for an error text: quoted, escaped, at most 40 characters of it."""
    return ascii(text if len(text) <= 40 else text[:37] + "...")
