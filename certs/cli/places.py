"""Options that say where keys are: the root's, those that issue, the standby's."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from certs.ca.keys import Place
from certs.ca.token_keys import Token
from certs.cli.manners import DIRECTORY, FILE

_Command = Callable[..., None]

standby_dir_option = click.option(
    "--standby-dir", type=DIRECTORY, help="Where the directory with the standby's key is now, if not where it was."
)


def root_options(command: _Command) -> _Command:
    """Give a command `root_place`: where the root's key is, None for where it is not said."""
    return _root_options(command, "Where the root's key is; --dir when left out.")


def prepare_options(command: _Command) -> _Command:
    """Give a command `root_place`: the root's key, if a standby is to be signed with it without being asked for."""
    return _root_options(command, "Sign the next standby by itself when there is none, with the root's key in here.")


def _root_options(command: _Command, what: str) -> _Command:
    @click.option("--root-dir", type=DIRECTORY, help=what)
    @click.option("--root-token", help="The label of a PKCS#11 token that holds the root's key, instead.")
    @click.option("--root-pin-file", type=FILE, help="The token's PIN, in a file of mode 0600.")
    @_with_module
    @wraps(command)
    def run(*, root_dir: Path | None, root_token: str | None, root_pin_file: Path | None, **others: Any) -> None:
        token = _token("root", root_token, root_pin_file)
        if token is not None and root_dir is not None:
            raise click.UsageError(
                "the root's key is in one place: --root-token needs no --root-dir; see --pkcs11-module"
            )
        command(root_place=token or root_dir, **others)

    return run


def keys_options(command: _Command) -> _Command:
    """Give a command `keys_token`: the token for keys that issue, None for the authority's directory."""

    @click.option("--keys-token", help="The label of a PKCS#11 token for the keys that issue; --dir when left out.")
    @click.option("--keys-pin-file", type=FILE, help="Its PIN, in a file of mode 0600.")
    @_with_module
    @wraps(command)
    def run(*, keys_token: str | None, keys_pin_file: Path | None, **others: Any) -> None:
        command(keys_token=_token("keys", keys_token, keys_pin_file), **others)

    return run


def standby_options(command: _Command) -> _Command:
    """Give a command `standby_place`: a place of its own for the standby's key, None for where it is not said."""

    @click.option("--standby-dir", type=DIRECTORY, help="A directory of its own for the standby's key.")
    @click.option("--standby-token", help="The label of a PKCS#11 token of its own for it, instead.")
    @click.option("--standby-pin-file", type=FILE, help="Its PIN, in a file of mode 0600.")
    @_with_module
    @wraps(command)
    def run(
        *, standby_dir: Path | None, standby_token: str | None, standby_pin_file: Path | None, **others: Any
    ) -> None:
        place: Place = _token("standby", standby_token, standby_pin_file)
        if place is not None and standby_dir is not None:
            raise click.UsageError("the standby's key is in one place: --standby-token or --standby-dir")
        command(standby_place=place or standby_dir, **others)

    return run


def _with_module(command: _Command) -> _Command:
    """Give a command --pkcs11-module, once, however many of its options need it."""
    return _module_option(command) if not _has_module(command) else command


_MODULE_KEY = "certs.cli.places.module"
_module_option = click.option(
    "--pkcs11-module",
    type=FILE,
    expose_value=False,
    help="The PKCS#11 library of the tokens.",
    callback=lambda context, _parameter, value: context.meta.__setitem__(_MODULE_KEY, value),
    is_eager=True,
)


def _has_module(command: _Command) -> bool:
    """Say whether an option that was added before this one is --pkcs11-module."""
    added = getattr(command, "__click_params__", ())
    return any("--pkcs11-module" in parameter.opts for parameter in added)


def _token(whose: str, label: str | None, pin_file: Path | None) -> Token | None:
    """Return a token, None when none is named. Raises UsageError when a part is missing."""
    module = click.get_current_context().meta.get(_MODULE_KEY)
    if label is None:
        if pin_file is not None:
            raise click.UsageError(f"--{whose}-pin-file needs --{whose}-token")
        return None
    if pin_file is None or not isinstance(module, Path):
        raise click.UsageError(f"--{whose}-token needs --pkcs11-module and --{whose}-pin-file")
    return Token(module=module, label=label, pin_file=pin_file)
