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
from gateway.config.identity_settings import WorkloadEndpoint
from gateway.config.kinds import HOST_NAME, SPIFFE_ID, HostPort, Scalar

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])

DEFAULT_DIR = ".smsgw"
_FILES = ("svid", "svid_key", "bundle")
_KINDS: dict[str, Scalar] = {
    "target": HostPort(),
    "server_name": HOST_NAME,
    "server_id": SPIFFE_ID,
    "workload_api": WorkloadEndpoint(),
    "spiffe_id": SPIFFE_ID,
}
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
        click.option(
            "--workload-api",
            metavar="ADDRESS",
            help="A SPIFFE Workload API instead of the three files, or `environment`.",
        ),
        click.option(
            "--as", "spiffe_id", metavar="SPIFFE_ID", help="Which identity of the Workload API; the first one."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def client_settings(options: dict[str, Any]) -> ClientSettings:
    """Take the connection's options out of `options` and return what they say. Raises Misused.

    Given ones replace those of client.yaml; without a client.yaml target, server name and an identity are needed.
    """
    directory: Path = options.pop("directory")
    given = {name: options.pop(name) for name in (*_KINDS, *_FILES)}
    values = {name: _read(name, text) for name, text in given.items() if name in _KINDS}
    base = None if _whole(given) else _client_file(directory)
    for name in ("target", "server_name", "server_id"):
        if values[name] is None and base is not None:
            values[name] = getattr(base, name)
    return ClientSettings(**{**values, **_identity(given, base)}, admin=None, ca=None)


def _read(name: str, text: str | None) -> Any:
    """Return the value of an option, None when it is not given. Raises Misused."""
    try:
        return None if text is None else _KINDS[name].read(text)
    except ValueError as error:
        raise Misused(f"{_option(name)} {error}", reason="BAD_TARGET") from error


def _option(name: str) -> str:
    return {"spiffe_id": "--as"}.get(name, f"--{name.replace('_', '-')}")


def _whole(given: dict[str, Any]) -> bool:
    """Say whether the options alone say it all."""
    identity = given["workload_api"] is not None or all(given[name] is not None for name in _FILES)
    return identity and given["target"] is not None and given["server_name"] is not None


def _client_file(directory: Path) -> ClientSettings:
    file = directory / "client.yaml"
    try:
        return load_client(file)
    except ConfigError as error:
        names = ", ".join(_option(name) for name in ("target", *_FILES, "server_name"))
        hint = "" if file.exists() else f"; --dir says where the node's folder is, or give all of {names}"
        raise Misused(f"{error}{hint}", reason="BAD_CLIENT_FILE") from error


def _identity(given: dict[str, Any], base: ClientSettings | None) -> dict[str, Any]:
    """Return where the identity comes from: a Workload API or three files, given ones before those of client.yaml."""
    files = {f"{name}_file": given[name] for name in _FILES}
    if any(file is not None for file in files.values()):
        files = {name: getattr(base, name, None) if file is None else file for name, file in files.items()}
        if given["workload_api"] or given["spiffe_id"]:
            raise Misused("--svid, --svid-key and --bundle stand instead of a Workload API", reason="BAD_IDENTITY")
        if not all(files.values()):
            raise Misused("give all of --svid, --svid-key, --bundle: client.yaml has no files", reason="BAD_IDENTITY")
        return {"workload_api": None, "spiffe_id": None, **files}
    workload_api = given["workload_api"] or getattr(base, "workload_api", None)
    if workload_api is None:
        if given["spiffe_id"]:
            raise Misused("--as picks an identity of a Workload API, and there is none here", reason="BAD_IDENTITY")
        return {name: getattr(base, name, None) for name in ("workload_api", "spiffe_id", *files)}
    known = None if given["workload_api"] or base is None else base.spiffe_id
    return {"workload_api": workload_api, "spiffe_id": given["spiffe_id"] or known, **files}


def operator_settings(options: dict[str, Any]) -> ClientSettings:
    """Take the connection's options out of `options` and return how the operator calls the node. Raises Misused.

    What is not given comes from client.yaml: target and identity from its section admin.
    """
    if _whole(options):
        return client_settings(options)
    file = options["directory"] / "client.yaml"
    try:
        base = load_client(file)
    except ConfigError as error:
        raise Misused(f"{error}; --dir says where the node's folder is", reason="BAD_CLIENT_FILE") from error
    if base.admin is None:
        text = f"{file} has no section admin: it says where operators call, and as whom"
        raise Misused(text, reason="BAD_CLIENT_FILE")
    options["target"] = options["target"] or str(base.admin.target)
    if base.workload_api is None and not options["workload_api"]:
        options["svid"] = options["svid"] or base.admin.svid_file
        options["svid_key"] = options["svid_key"] or base.admin.svid_key_file
    elif not any(options[name] for name in (*_FILES, "workload_api")):
        options["spiffe_id"] = options["spiffe_id"] or base.admin.spiffe_id
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
