"""Kinds of values that only the settings of carriers have (see `gateway.config.kinds`)."""

from __future__ import annotations

import base64
import binascii
import enum
import re
from dataclasses import dataclass

from carrier.smpp.constants import Status, status_name
from carrier.statuses import Action
from gateway.config.kinds import clip

_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]{1,8}|[0-9]{1,10}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCode:
    """A command_status, by its name in SMPP or by its number: `ESME_RSYSERR`, `0x0000045B`, `1115`."""

    quotable: bool = True

    def read(self, text: str) -> int:
        """Return the number."""
        if _NUMBER.fullmatch(text):
            number = int(text, 16 if text[:2].lower() == "0x" else 10)
        elif text in Status.__members__:
            number = int(Status[text])
        else:
            raise ValueError(f"wants {self.describe()}; {clip(text)} is none")
        if not 0 < number <= 0xFFFFFFFF:
            raise ValueError("wants the status of an error: 1 to 0xFFFFFFFF")
        return number

    def show(self, value: object) -> str:
        """Return the name, or the number where it has none."""
        return status_name(value) if isinstance(value, int) else str(value)

    def describe(self) -> str:
        """Return how it is written."""
        return "command_status, as ESME_RSYSERR or 0x0000045B"


class TlsVersion(enum.StrEnum):
    """The TLS versions that are taken."""

    V12 = "1.2"
    V13 = "1.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpkiPin:
    """A SHA-256 digest, in base64 or in hex with or without colons."""

    quotable: bool = True

    def read(self, text: str) -> bytes:
        """Return the 32 octets."""
        digits = text.replace(":", "")
        try:
            digest = bytes.fromhex(digits) if len(digits) == 64 else base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            digest = b""
        if len(digest) != 32:
            raise ValueError(f"wants {self.describe()}; {clip(text)} is none")
        return digest

    def show(self, value: object) -> str:
        """Return the base64 form."""
        return f'"{base64.b64encode(value).decode()}"' if isinstance(value, bytes) else str(value)

    def describe(self) -> str:
        """Return what is wanted."""
        return "SHA-256 in base64 (44 characters) or hex (64)"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusActions:
    """What is done about a status: `fail`, `retry slow_down`."""

    quotable: bool = True

    def read(self, text: str) -> Action:
        """Return the actions together."""
        found = Action(0)
        for word in text.split():
            if word.upper() not in Action.__members__ or word != word.lower():
                raise ValueError(f"wants {self.describe()}; {clip(word)} is none of them")
            found |= Action[word.upper()]
        if (Action.RETRY in found) == (Action.FAIL in found):
            raise ValueError("wants one of retry and fail, beside any of fail_over, slow_down and rebind")
        return found

    def show(self, value: object) -> str:
        """Return the words."""
        return " ".join(str(action.name).lower() for action in value) if isinstance(value, Action) else str(value)

    def describe(self) -> str:
        """Return the words that may stand there."""
        return "words: " + ", ".join(name.lower() for name in Action.__members__)
