"""The `smsgw` command: finds its subcommands by name among the installed entry points, and loads the one called.

So `smsgw serve` never imports the code that signs certificates, and `smsgw send` none of the server.
"""

from __future__ import annotations

import difflib
import os
import sys
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any

import click

from gateway.cli.manners import Failure
from visibility import core_log

GROUP = "smsgw.commands"

# gRPC's core writes to standard error by itself, past our log and its redaction, a line for each failed handshake of
# whoever connects. It reads this when it is loaded, which only the commands do; `run` has another value for servers.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

# The order in which somebody meets them; others follow by name.
_ORDER = (
    "dev",
    "init",
    "check",
    "serve",
    "status",
    "alerts",
    "send",
    "get",
    "watch",
    "cancel",
    "carrier",
    "queues",
    "pause",
    "resume",
    "purge",
    "find",
    "usage",
    "privacy",
    "reload",
    "revoke",
    "revocations",
    "policy",
    "audit",
    "ca",
    "simulator",
)


class CommandGroup(click.Group):
    """A group whose commands are entry points."""

    def _found(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=GROUP)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order in which somebody meets them."""
        del ctx
        names = self._found()
        return [name for name in _ORDER if name in names] + sorted(set(names) - set(_ORDER))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command; one that cannot be loaded says so when it is called, and does not hide the others."""
        del ctx
        point = self._found().get(cmd_name)
        if point is None:
            return None
        try:
            loaded = point.load()
        except Exception as error:  # whatever a module does when it is imported: the other commands work
            return _broken(cmd_name, error)
        return loaded if isinstance(loaded, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was called; an unknown one is answered with the nearest known."""
        name = args[0] if args else ""
        known = self.list_commands(ctx)
        if name and not name.startswith("-") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            ctx.fail(f"There is no command {name!a}; {hint}")
        return super().resolve_command(ctx, args)


def _broken(name: str, error: Exception) -> click.Command:
    def fail(**_: Any) -> None:
        raise Failure(f"the command {name} cannot be loaded: {error}; install smsgw again") from error

    return click.Command(
        name,
        callback=fail,
        params=[click.Argument(["arguments"], nargs=-1)],
        short_help="(cannot be loaded)",
        context_settings={"ignore_unknown_options": True},
    )


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("smsgw"), prog_name="smsgw")
def main() -> None:
    """smsgw sends SMS for internal services: gRPC over mutual TLS in, SMPP over TLS out.

    See it work, with a certificate authority and a simulated carrier of its own:

    \b
      smsgw dev
      smsgw send --to +4915112345678 --from ACME --category otp --text 'Your code' --follow

    Set up a node:

    \b
      smsgw init --trust-domain example.org      # smsgw.yaml, keys/, client.yaml
      smsgw check                                # what is still missing, and what to do
      smsgw serve

    `smsgw COMMAND --help` has examples. Every command takes --json.

    \b
    Exit codes:
      0    done
      1    it failed: not delivered, not found, too late to cancel ...
      2    the command line, the configuration or a request is wrong
      3    the node could not be reached
      4    refused: the identity is not accepted, or may not do this
      5    done as far as it goes by now; the node finishes it by itself (smsgw privacy erase)
      130  interrupted
    """


def run() -> None:
    """Run the command line: the program's entry point. Servers read what gRPC's core writes (`visibility.core_log`)."""
    if sys.argv[1:2] == ["serve"] or sys.argv[1:3] == ["ca", "serve"]:
        core_log.begin()
    main()


if __name__ == "__main__":
    run()
