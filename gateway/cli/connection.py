"""How the client commands find their node, and how its refusals become exit codes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click
import grpc

from gateway.cli.manners import Failure, Misused, Refused, Unreachable
from gateway.client import CallFailed, IdentityUnusable, ServerNotVerified
from gateway.config.client_file import ClientSettings, load_client
from gateway.config.errors import ConfigError
from gateway.config.kinds import SPIFFE_ID, HostPort

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])

DEFAULT_DIR = ".smsgw"
_EXPLICIT = ("target", "svid", "svid_key", "bundle", "server_name")
_File = click.Path(path_type=Path, dir_okay=False)

_FAILURES: dict[grpc.StatusCode, type[Failure]] = {
    grpc.StatusCode.UNAVAILABLE: Unreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: Unreachable,
    grpc.StatusCode.UNAUTHENTICATED: Refused,
    grpc.StatusCode.PERMISSION_DENIED: Refused,
    grpc.StatusCode.INVALID_ARGUMENT: Misused,
}


def directory_option(command: _F) -> _F:
    """Give a command --dir."""
    return click.option(
        "--dir",
        "directory",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="SMSGW_DIR",
        default=DEFAULT_DIR,
        show_default=True,
        help="The folder of the node's client.yaml; SMSGW_DIR says the same.",
    )(command)


def connection_options(command: _F) -> _F:
    """Give a command --dir, and the options that reach a node without a client.yaml."""
    options = (
        directory_option,
        click.option("--target", metavar="HOST:PORT", help="The node's API, instead of what client.yaml says."),
        click.option("--server-name", metavar="NAME", help="The DNS name in the node's certificate."),
        click.option("--server-id", metavar="SPIFFE_ID", help="The SPIFFE ID in it; client.yaml may say it."),
        click.option("--svid", type=_File, help="The caller's X.509-SVID, PEM."),
        click.option("--svid-key", type=_File, help="Its private key, PEM."),
        click.option("--bundle", type=_File, help="The trust bundle, PEM."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def client_settings(options: dict[str, Any]) -> ClientSettings:
    """Take the connection's options out of `options` and return what they say. Raises Misused.

    Given ones replace those of client.yaml; without a client.yaml all of them are needed.
    """
    directory: Path = options.pop("directory")
    given = {name: options.pop(name) for name in _EXPLICIT}
    server_id = options.pop("server_id")
    file = directory / "client.yaml"
    try:
        target = None if given["target"] is None else HostPort().read(given["target"])
        server_id = None if server_id is None else SPIFFE_ID.read(server_id)
        base = None if all(value is not None for value in given.values()) else load_client(file)
    except ValueError as error:
        raise Misused(f"--target or --server-id {error}", reason="BAD_TARGET") from error
    except ConfigError as error:
        hint = "" if file.exists() else "; --dir says where the node's folder is, or give all of " + ", ".join(
            f"--{name.replace('_', '-')}" for name in _EXPLICIT
        )  # fmt: skip
        raise Misused(f"{error}{hint}", reason="BAD_CLIENT_FILE") from error
    values = {
        "target": target,
        "server_name": given["server_name"],
        "server_id": server_id,
        "svid_file": given["svid"],
        "svid_key_file": given["svid_key"],
        "bundle_file": given["bundle"],
    }
    if base is not None:
        values = {name: getattr(base, name) if value is None else value for name, value in values.items()}
    return ClientSettings(**values, admin=None)


def operator_settings(options: dict[str, Any]) -> ClientSettings:
    """Take the connection's options out of `options` and return how the operator calls the node. Raises Misused.

    What is not given comes from client.yaml: target and SVID from its section admin.
    """
    directory: Path = options["directory"]
    file = directory / "client.yaml"
    if any(options[name] is None for name in _EXPLICIT):
        try:
            base = load_client(file)
        except ConfigError as error:
            raise Misused(f"{error}; --dir says where the node's folder is", reason="BAD_CLIENT_FILE") from error
        if base.admin is None:
            text = f"{file} has no section admin: it says where operators call, and as whom"
            raise Misused(text, reason="BAD_CLIENT_FILE")
        options["target"] = options["target"] or str(base.admin.target)
        options["svid"] = options["svid"] or base.admin.svid_file
        options["svid_key"] = options["svid_key"] or base.admin.svid_key_file
    return client_settings(options)


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Turn what the client raises into failures of a command."""
    try:
        yield
    except IdentityUnusable as error:
        raise Refused(str(error), reason="IDENTITY_UNUSABLE") from error
    except ServerNotVerified as error:
        raise Unreachable(str(error), reason="SERVER_NOT_VERIFIED") from error
    except CallFailed as error:
        kind = _FAILURES.get(error.code, Failure)
        details = {} if error.retry_after_s is None else {"retry_after_s": error.retry_after_s}
        raise kind(error.text, reason=error.reason or error.code.name, **details) from error


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a command's coroutine, and end the command as its failures ask."""
    with failures():
        return asyncio.run(work)
