"""YAML is taken plainly and bounded."""

from __future__ import annotations

import pytest

from gateway.config.errors import ConfigError
from gateway.config.loader import load
from tests.gateway.config.conftest import MINIMAL, Problems, Write


@pytest.mark.parametrize(
    ("added", "line", "text"),
    [
        ("log: &x {level: info}\n", 3, "anchors"),
        ("log: {level: *x}\n", 3, "aliases"),
        ("log: {level: !!str info}\n", 3, "tags"),
        ("log: !!python/object/apply:os.system [id]\n", 3, "tags"),
        ("---\nlog: {}\n", 3, "one document"),
        ("log: " + "[" * 20 + "]" * 20 + "\n", 3, "nested"),
        ("log: {level: info\n", 4, "no YAML"),
        ("log: \tx: y: z\n", 3, "no YAML"),
    ],
)
def test_what_a_configuration_has_no_use_for(problems: Problems, added: str, line: int, text: str) -> None:
    """Each is refused with its line before anything is built of it."""
    ((found_line, _, found_text),) = problems(MINIMAL + added)
    assert found_line == line
    assert text in found_text


def test_control_characters_are_refused(problems: Problems) -> None:
    """YAML itself refuses them; the text is ours."""
    ((_, _, text),) = problems(MINIMAL + "log: {level: \x1b[31m}\n")
    assert "no YAML" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("text", ["", "[]\n", "just words\n", "# nothing\n"])
def test_file_that_is_no_mapping(problems: Problems, text: str) -> None:
    """A file without sections is refused as such."""
    assert "wants sections" in problems(text)[0][2]


def test_key_that_stands_twice(problems: Problems) -> None:
    """A key given twice is refused with both lines."""
    assert problems(MINIMAL + "log: {}\n\nlog: {}\n") == [
        (5, "log", "stands here a second time; the first is in line 3")
    ]


def test_key_that_is_no_name(problems: Problems) -> None:
    """A list as a key is refused."""
    assert (3, "log", "wants plain names as keys") in problems(MINIMAL + "log: {[a]: b}\n")


def test_octets_that_are_no_utf8(write: Write) -> None:
    """The line of the first wrong octet is told."""
    file = write("")
    file.write_bytes(MINIMAL.encode() + b"log: \xff\n")
    with pytest.raises(ConfigError, match=r"smsgw\.yaml:3: is not UTF-8"):
        load(file)


def test_size_is_bounded(problems: Problems) -> None:
    """A file of more than 1 MiB is not parsed."""
    assert "larger than 1 MiB" in problems(MINIMAL + "#" * (1 << 20))[0][2]
