"""`smsgw revoke`: puts an identity on the node's deny list, which the running node takes up at once."""

from __future__ import annotations

from pathlib import Path

import click
from cryptography import x509

from gateway.cli.manners import Failure, Misused, console, emit, json_option
from gateway.config.errors import ConfigError
from gateway.config.loader import load
from gateway.revocation import DENY_LIST, DenyList, DenyListError, DenyListFile

_MAX_CERTIFICATE_BYTES = 64 << 10


@click.command(short_help="Refuse an identity from now on, and cut its calls.")
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default="smsgw.yaml",
    show_default=True,
    help="The node's configuration.",
)
@click.option("--spiffe-id", help="Every certificate of this SPIFFE ID, those to come included.")
@click.option(
    "--certificate", type=click.Path(path_type=Path, dir_okay=False), help="This one certificate (PEM, leaf first)."
)
@click.option("--serial", help="One certificate by its serial number, in hexadecimal; with --authority-key-id.")
@click.option("--authority-key-id", help="The key id of its issuer, in hexadecimal.")
@json_option
def revoke(
    config: Path,
    spiffe_id: str | None,
    certificate: Path | None,
    serial: str | None,
    authority_key_id: str | None,
    as_json: bool,
) -> None:
    """Put an identity on the node's deny list. The running node takes it up within a tenth of a second: new calls are
    refused, and calls and streams under way are cut, with UNAUTHENTICATED and the reason REVOKED.

    What the identity has sent already stays sent. There is no undo but an edit of denied.json in the data folder.

    \b
    Examples:
      smsgw revoke --spiffe-id spiffe://example.org/payments/api
      smsgw revoke --certificate stolen.pem
      smsgw revoke --serial 3d54782898d9 --authority-key-id 1e44a2fb7877
    """
    try:
        file = DenyListFile(load(config).node.data_dir / DENY_LIST)
        deny = _added(file.deny, spiffe_id, certificate, serial, authority_key_id)
        changed = deny != file.deny
        if changed:
            file.replace(deny)
    except ConfigError as error:
        raise Misused(str(error)) from error
    except DenyListError as error:
        raise Failure(str(error)) from error
    entries = len(deny.certificates) + len(deny.spiffe_ids)
    if as_json:
        emit({"revoked": changed, "entries": entries})
    else:
        console().print(f"{'revoked' if changed else 'was revoked already'}; {entries} on the list")


def _added(
    deny: DenyList, spiffe_id: str | None, certificate: Path | None, serial: str | None, authority_key_id: str | None
) -> DenyList:
    """Return the list with what the options name: exactly one way of naming it."""
    if sum(option is not None for option in (spiffe_id, certificate, serial or authority_key_id)) != 1:
        raise Misused("name one identity: --spiffe-id, --certificate, or --serial with --authority-key-id")
    if spiffe_id is not None:
        return deny.with_spiffe_id(spiffe_id)
    if certificate is not None:
        authority_key_id, serial = _named(certificate)
    if serial is None or authority_key_id is None:
        raise Misused("--serial and --authority-key-id go together: a serial number is unique to its issuer only")
    return deny.with_certificate(authority_key_id, serial)


def _named(path: Path) -> tuple[str, str]:
    """Return authority key id and serial number of the first certificate in a file."""
    try:
        leaf = x509.load_pem_x509_certificate(path.read_bytes()[:_MAX_CERTIFICATE_BYTES])
        issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        raise Misused(f"{path}: no certificate with an authority key id can be read from it: {error}") from error
    if issuer is None:
        raise Misused(f"{path}: the certificate names its issuer by no key id")
    return issuer.hex(), f"{leaf.serial_number:x}"
