"""The group finds its commands by name, and loads the one that is called."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points

import click
import pytest
from click.testing import CliRunner

from gateway.cli.main import GROUP, CommandGroup, main

COMMANDS = sorted(point.name for point in entry_points(group=GROUP))


def test_help_explains_exit_codes_and_lists_commands() -> None:
    """The first thing somebody reads has examples, exit codes, and every command with a sentence."""
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for text in ("smsgw dev", "Exit codes:", "could not be reached", "(cannot be loaded)"):
        assert (text in result.output) == (text != "(cannot be loaded)")
    assert all(f"\n  {name} " in result.output for name in COMMANDS)


def leafs(words: list[str], command: click.Command) -> list[list[str]]:
    """Return the words of each command that does something: those of a group's commands, and of their groups'."""
    if not isinstance(command, click.Group):
        return [words]
    return [leaf for name, part in command.commands.items() for leaf in leafs([*words, name], part)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches(name: str) -> None:
    """Each has --json and at least one example; a group's commands have."""
    command = main.get_command(click.Context(main), name)
    assert command is not None
    for words in leafs([name], command):
        output = CliRunner().invoke(main, [*words, "--help"]).output
        assert "--json" in output, words
        assert f"smsgw {' '.join(words)}" in output, words


def test_unknown_command_gets_the_nearest() -> None:
    """A slip of the finger is answered with what was meant."""
    result = CliRunner().invoke(main, ["sned"])
    assert result.exit_code == 2
    assert "did you mean send?" in result.output


def test_command_that_cannot_be_loaded_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken module is told when its command is called, and the help stays whole."""
    points = {
        "broken": EntryPoint("broken", "gateway.no_such_module:main", GROUP),
        "init": EntryPoint("init", "gateway.cli.init:init", GROUP),
    }
    monkeypatch.setattr(CommandGroup, "_found", lambda _self: points)
    assert "(cannot be loaded)" in CliRunner().invoke(main, ["--help"]).output
    result = CliRunner().invoke(main, ["broken", "--any", "thing"])
    assert result.exit_code == 1
    assert "no_such_module" in result.stderr


def test_only_what_is_called_is_imported() -> None:
    """A command of the client imports neither the node nor the code that signs."""
    script = (
        "import sys\n"
        "from gateway.cli.main import main\n"
        "main(['get', '--help'], standalone_mode=False)\n"
        "bad = [name for name in sys.modules if name in ('gateway.node', 'certs.ca.signer', 'carrier.link')]\n"
        "sys.exit(', '.join(bad) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_group_is_a_command_group() -> None:
    """The entry points of the installed package are found."""
    assert isinstance(main, click.Group)
    assert {"dev", "init", "serve", "check", "send", "watch", "get", "cancel", "status", "ca", "simulator"} <= {
        *COMMANDS
    }
