"""`smsgw revoke --ca`: the gateway first, then a real authority in a process of its own, and back to the serials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import yaml

from certs.svid import X509Svid
from tests.appliance import SMSGW, TENANT, TRUST_DOMAIN, Appliance, Running, run
from tests.gateway.api.refusals import from_error
from tests.gateway.operation import TIMEOUT_S, Operation, configure, fresh, operating

CALLER = f"spiffe://{TRUST_DOMAIN}/{TENANT}/caller-0"
REVOKED = (grpc.StatusCode.UNAUTHENTICATED, "REVOKED")
OK = (grpc.StatusCode.OK, "")


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Appliance:
    """Make keys and certificates once."""
    return Appliance.create(tmp_path_factory.mktemp("at-ca") / "site", callers=2, operator=True)


@pytest.fixture(scope="module")
def authority(appliance: Appliance) -> Iterator[str]:
    """Run the site's authority over the network; its address."""
    entries = appliance.folder / "entries.yaml"
    entries.write_text("nodes: []\n")
    ca = str(appliance.folder / "ca")
    listen = ("--listen", "127.0.0.1:0", "--join-listen", "127.0.0.1:0")
    command = [SMSGW, "ca", "serve", "--dir", ca, "--entries", str(entries), *listen]
    with Running(command, log=appliance.folder / "ca.log") as process:
        port = process.line_with(r"nodes call port (\d+)").group(1)
        yield f"127.0.0.1:{port}"


@pytest.fixture
async def operation(appliance: Appliance) -> AsyncIterator[Operation]:
    """Run a node without a carrier."""
    fresh(appliance)
    configure(appliance, {})
    async with operating(appliance, {}) as running:
        yield running


async def outcome(operation: Operation, who: str) -> tuple[grpc.StatusCode, str]:
    """List messages on a connection of its own; how that ends."""
    channel = operation.channel(who, operation.node.api_address)
    call: Any = channel.unary_unary("/smsgw.v1.MessageService/ListMessages")
    try:
        await call(b"", timeout=TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        refused = from_error(error)
        return refused.code, refused.reason
    return OK


def issue(appliance: Appliance, spiffe_id: str, name: str) -> X509Svid:
    """Issue an SVID into pki/."""
    out = appliance.folder / "pki" / name
    run("ca", "issue", "--dir", str(appliance.folder / "ca"), "--spiffe-id", spiffe_id, "--out", str(out))
    return X509Svid.load(Path(f"{out}.pem"), Path(f"{out}.key"))


async def test_an_identity_is_expanded_and_let_in_again_at_once(operation: Operation, authority: str) -> None:
    """Every certificate that it has is refused, and the CA has revoked it; a new one passes, though it is dated back to
    before the revocation."""
    folder = operation.appliance.folder
    held = [X509Svid.load(folder / "pki" / "caller-0.pem", folder / "pki" / "caller-0.key")]
    held.append(await asyncio.to_thread(issue, operation.appliance, CALLER, "second"))
    target = ("--spiffe-id", CALLER, "--ca", authority)
    (done,) = await operation.command("revoke", *target, "--reason", "ticket 4711")
    named = {entry["target"]["certificate"]["serial"] for entry in done["revocations"]}
    assert named >= {svid.serial for svid in held}
    assert {entry["queued"] for entry in done["revocations"]} == {"HOLD"}
    assert {entry.serial for entry in operation.node.deny_list.deny.entries} == named  # and no identity
    assert await outcome(operation, "caller-0") == await outcome(operation, "second") == REVOKED
    await asyncio.to_thread(issue, operation.appliance, CALLER, "attested-anew")
    assert await outcome(operation, "attested-anew") == OK
    again = await asyncio.to_thread(run, "ca", "revoke", "--dir", str(folder / "ca"), "--serial", held[0].serial,
                                    "--reason", "looked up", "--json")  # fmt: skip
    assert held[0].serial in again


async def test_an_authority_that_does_not_answer(operation: Operation) -> None:
    """The gateway refuses all the same, and the command says what is left to do."""
    client = operation.appliance.folder / "client.yaml"
    document = yaml.safe_load(client.read_text())
    client.write_text(yaml.safe_dump({**document, "ca": {"target": "127.0.0.1:1"}}))
    other = f"spiffe://{TRUST_DOMAIN}/{TENANT}/caller-1"
    (told,) = await operation.command("revoke", "--spiffe-id", other, "--reason", "x", code=1)
    assert told["error"]["reason"] == "CA_NOT_REVOKED"
    assert "the gateway refuses it" in told["error"]["message"]
    assert await outcome(operation, "caller-1") == REVOKED
    (done,) = await operation.command("revoke", "--spiffe-id", other, "--no-ca", "--for-good", "--reason", "x")
    assert done["revocations"][0]["target"]["identity"]["for_good"] is True
