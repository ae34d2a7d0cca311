"""Looks for secrets in the tracked files, offline (`make check`): keys, tokens, and strings too random to be words.

What a secret looks like is detect-secrets' matter. Its own command takes 20 s for this tree, going through every line
with every plugin; here each plugin is given a whole file, which finds the same in a tenth of that. What is known to be
none (test vectors, and the throw-away keys of tests) stands in tools/secret_scan.allowed, by file and hash: the value
itself is neither there nor in what is printed.

    tools/secret_scan.py [--root FOLDER]    exits 1 when something is found, and says where
    tools/secret_scan.py --allow FILE...    adds what is found in these files, and drops what is no longer in them
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.base import BasePlugin
from detect_secrets.plugins.basic_auth import BasicAuthDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.high_entropy_strings import (
    Base64HighEntropyString,
    HexHighEntropyString,
    HighEntropyStringsPlugin,
)
from detect_secrets.plugins.jwt import JwtTokenDetector
from detect_secrets.plugins.npm import NpmDetector
from detect_secrets.plugins.openai import OpenAIDetector
from detect_secrets.plugins.private_key import PrivateKeyDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector
from detect_secrets.plugins.twilio import TwilioKeyDetector

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = "tools/secret_scan.allowed"
_HEAD = "# Strings that look like secrets and are none, by file and hash (tools/secret_scan.py --allow FILE).\n"

_KNOWN: tuple[BasePlugin, ...] = (
    AWSKeyDetector(),
    AzureStorageKeyDetector(),
    BasicAuthDetector(),
    GitHubTokenDetector(),
    GitLabTokenDetector(),
    JwtTokenDetector(),
    NpmDetector(),
    OpenAIDetector(),
    PrivateKeyDetector(),
    PypiTokenDetector(),
    SendGridDetector(),
    SlackDetector(),
    StripeDetector(),
    TelegramBotTokenDetector(),
    TwilioKeyDetector(),
)
_RANDOM: tuple[HighEntropyStringsPlugin, ...] = (Base64HighEntropyString(limit=4.5), HexHighEntropyString(limit=3.0))
_QUOTED_ONLY = {".py", ".pyi", ".js", ".proto"}  # there a text stands in quotes; elsewhere a bare word may be a secret
_BARE_BYTES = 24  # shorter bare words are names
_PINS = {"requirements.lock", "requirements-dev.lock", "package-lock.json"}  # hashes of packages by the thousand
_MAX_BYTES = 2 << 20


class Found(NamedTuple):
    """Something that looks like a secret. `digest` is a short one-way hash of it, which may be shown."""

    file: str
    line: int
    kind: str
    digest: str


def tracked(root: Path) -> list[str]:
    """Return the files that git tracks below `root`, sorted."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], check=True, capture_output=True, text=True)
    return sorted(name for name in listed.stdout.split("\0") if name)


def scan(root: Path, names: Iterable[str]) -> Iterator[Found]:
    """Yield what looks like a secret in the named files; links, and what was deleted or is no text, are passed over."""
    for name in names:
        file = root / name
        if file.is_symlink() or not file.is_file() or name == ALLOWED:
            continue
        octets = file.read_bytes()
        if len(octets) > _MAX_BYTES:
            yield Found(name, 0, f"larger than {_MAX_BYTES >> 20} MiB: not looked at", "-")
        elif b"\0" not in octets:
            yield from _in_text(name, octets.decode(errors="replace"))


def _in_text(name: str, text: str) -> Iterator[Found]:
    seen: set[str] = set()
    for kind, secret in _secrets(text, Path(name)):
        if secret not in seen:
            seen.add(secret)
            digest = hashlib.sha256(secret.encode()).hexdigest()[:16]
            yield Found(name, text.count("\n", 0, text.find(secret)) + 1, kind, digest)


def _secrets(text: str, file: Path) -> Iterator[tuple[str, str]]:
    for plugin in _KNOWN:
        for secret in plugin.analyze_string(text):
            yield plugin.secret_type, secret
    if file.name in _PINS:
        return
    for randomness in _RANDOM:
        words = set(randomness.analyze_string(text))
        if file.suffix not in _QUOTED_ONLY:
            with randomness.non_quoted_string_regex(is_exact_match=False):
                words.update(word for word in randomness.analyze_string(text) if len(word) >= _BARE_BYTES)
        for word in sorted(words):
            if randomness.calculate_shannon_entropy(word) > randomness.entropy_limit:
                yield randomness.secret_type, word


def read_allowed(root: Path) -> set[tuple[str, str]]:
    """Return file and hash of what is known to be no secret."""
    file = root / ALLOWED
    if not file.is_file():
        return set()
    rows = (line.split() for line in file.read_text().splitlines() if line and not line.startswith("#"))
    return {(name, digest) for digest, name in rows}


def allow(root: Path, names: Iterable[str]) -> None:
    """Write what looks like a secret in the named files down as none, in place of what was allowed in them."""
    named = set(names)
    rows = {row for row in read_allowed(root) if row[0] not in named}
    rows.update((found.file, found.digest) for found in scan(root, sorted(named)))
    lines = "".join(f"{digest} {name}\n" for name, digest in sorted(rows))
    (root / ALLOWED).write_text(_HEAD + lines)


def main(arguments: list[str]) -> int:
    """Scan, or allow; return the exit code."""
    parser = argparse.ArgumentParser(description="Look for secrets in the tracked files.")
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--allow", nargs="+", metavar="FILE")
    options = parser.parse_args(arguments)
    if options.allow:
        allow(options.root, options.allow)
        return 0
    allowed = read_allowed(options.root)
    found = [one for one in scan(options.root, tracked(options.root)) if (one.file, one.digest) not in allowed]
    for one in found:
        sys.stderr.write(f"{one.file}:{one.line}: {one.kind} ({one.digest})\n")
    if found:
        sys.stderr.write(
            "Take a secret out, and replace it wherever it was used: whoever has a clone has it. For what is none: "
            "tools/secret_scan.py --allow FILE, and commit that.\n"
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
