"""The authority's part of `smsgw revoke`: what is refused by the gateway is revoked there as well, and expanded.

The gateway comes first, since it bites at once. The authority then revokes what the identity holds and whatever was
issued on its word, renews none of it any more, and says what all of it is: certificate by certificate the gateway
refuses that from then on, so that a workload that is attested anew is let in at once, whatever the dates in its
certificate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from certs.spiffe_id import SpiffeId
from gateway.cli.manners import Failure, Misused
from gateway.client import CALL_TIMEOUT_S, SmsgwError, explained, open_channel
from gateway.config.client_file import CaSettings, ClientSettings
from gateway.config.kinds import HOST_NAME, HostPort
from smsgw.v1 import certificate_service_pb2 as ca_pb
from smsgw.v1 import revocation_service_pb2 as pb
from smsgw.v1.certificate_service_pb2_grpc import CertificateServiceStub

_F = TypeVar("_F", bound=Callable[..., Any])


def ca_options(command: _F) -> _F:
    """Give a command the options that reach the authority."""
    options = (
        click.option("--ca", metavar="HOST:PORT", help="Revoke it at this CA too; client.yaml may say which, as `ca`."),
        click.option("--ca-name", metavar="NAME", help="The DNS name in the CA's certificate; ca.TRUST_DOMAIN."),
        click.option("--no-ca", is_flag=True, help="At the gateway only, whatever client.yaml says."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def ca_of(options: dict[str, Any], known: CaSettings | None) -> CaSettings | None:
    """Take the authority's options out of `options`; None for no authority. Raises Misused."""
    target, name, no_ca = (options.pop(option) for option in ("ca", "ca_name", "no_ca"))
    if no_ca:
        return None
    try:
        if target is not None:
            known = CaSettings(target=HostPort().read(target), server_name=None)
        return known if name is None or known is None else dataclasses.replace(known, server_name=HOST_NAME.read(name))
    except ValueError as error:
        raise Misused(f"--ca, --ca-name: {error}", reason="BAD_TARGET") from error


def concerns_ca(target: pb.RevocationTarget) -> bool:
    """Say whether an authority can revoke a target: what it has issued, and not itself."""
    return not target.HasField("authority")


async def revoked_at_ca(
    settings: ClientSettings, ca: CaSettings, target: pb.RevocationTarget, reason: str
) -> list[pb.RevocationTarget]:
    """Revoke a target at the authority; all certificates that are revoked by it. Raises Failure: at the gateway it is
    refused already."""
    request = ca_pb.RevokeCertificatesRequest(reason=reason)
    if target.HasField("identity"):
        request.spiffe_id = target.identity.spiffe_id
    else:
        request.serial = target.certificate.serial
    try:
        return await _revoked(_settings(settings, ca, target), request)
    except SmsgwError as error:
        raise Failure(
            f"the gateway refuses it; the CA at {ca.target} has not revoked it: {error}. Run the same again, or "
            "`smsgw ca revoke` there: until then it can be renewed",
            reason="CA_NOT_REVOKED",
        ) from error


async def _revoked(settings: ClientSettings, request: ca_pb.RevokeCertificatesRequest) -> list[pb.RevocationTarget]:
    found: list[pb.RevocationTarget] = []
    async with open_channel(settings) as channel:
        with explained(settings):
            while True:
                stub = CertificateServiceStub(channel)
                page = await stub.RevokeCertificates(request, timeout=CALL_TIMEOUT_S)
                found += [_target(certificate) for certificate in page.certificates]
                request.page_token = page.next_page_token
                if not request.page_token:
                    return found


def _settings(settings: ClientSettings, ca: CaSettings, target: pb.RevocationTarget) -> ClientSettings:
    """Return how the authority is called, by the same operator."""
    whose = target.identity.spiffe_id or target.certificate.spiffe_id
    name = ca.server_name
    if name is None:
        name = f"ca.{SpiffeId.parse(whose).trust_domain}" if whose else settings.server_name
    return dataclasses.replace(settings, target=ca.target, server_name=name, server_id=None)


def _target(certificate: ca_pb.RevokedCertificate) -> pb.RevocationTarget:
    return pb.RevocationTarget(
        certificate=pb.CertificateTarget(
            serial=certificate.serial,
            authority_key_id=certificate.authority_key_id,
            spiffe_id=certificate.spiffe_id,
            not_after=certificate.not_after,
        )
    )


def chunks(targets: Sequence[pb.RevocationTarget], size: int) -> list[Sequence[pb.RevocationTarget]]:
    """Return the targets in requests of at most `size`."""
    return [targets[at : at + size] for at in range(0, len(targets), size)]
