"""A node's folder with a real authority, and a node that answers as a test tells it, over mutual TLS."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result
from google.protobuf.timestamp_pb2 import Timestamp

from certs.cli import ca
from certs.spiffe_id import TrustDomain
from certs.tls import BundleFiles, SvidFiles, server_credentials
from gateway.api.status import to_status
from gateway.cli.init import init
from gateway.cli.main import main
from gateway.states import State
from smsgw.v1 import message_pb2 as pb
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1 import message_service_pb2_grpc as rpc

DOMAIN = "example.org"
MESSAGE_ID = "01932c07-7d4c-7a51-8000-2d1f3c5b7a90"

Invoke = Callable[..., Result]


@pytest.fixture(scope="session")
def made_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the commands that an operator has."""
    folder = tmp_path_factory.mktemp("made") / "site"
    runner = CliRunner()
    ca_dir, pki = str(folder / "ca"), folder / "pki"
    for command, arguments in (
        (init, ["--dir", str(folder), "--trust-domain", DOMAIN]),
        (ca, ["init", "--dir", ca_dir, "--trust-domain", DOMAIN]),
        (ca, ["issue", "--dir", ca_dir, "--spiffe-id", f"spiffe://{DOMAIN}/gateway", "--dns", f"gateway.{DOMAIN}",
              "--out", str(pki / "gateway")]),
        (ca, ["issue", "--dir", ca_dir, "--spiffe-id", f"spiffe://{DOMAIN}/demo", "--out", str(pki / "demo")]),
    ):  # fmt: skip
        result = runner.invoke(command, arguments)
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def site(made_site: Path, tmp_path: Path) -> Path:
    """Return a copy of the folder that the test may change."""
    return Path(shutil.copytree(made_site, tmp_path / "site", symlinks=True))


def state_event(state: State, number: int, message_id: str = MESSAGE_ID) -> pb.Event:
    """Return a state change as a node would tell it."""
    return pb.Event(
        cursor=f"cursor-{number}",
        time=Timestamp(seconds=1_700_000_000 + number),
        state_change=pb.StateChange(
            message_id=message_id, state=pb.MessageState.ValueType(state), masked_recipient="+49XXXXXXX5678"
        ),
    )


@dataclass
class FakeNode(rpc.MessageServiceServicer):
    """Answers with what the test put here, and keeps what it was asked."""

    port: int = 0
    accepted: pb.AcceptedMessage = field(
        default_factory=lambda: pb.AcceptedMessage(
            message_id=MESSAGE_ID, state=pb.MESSAGE_STATE_ACCEPTED, segments=1, masked_recipient="+49XXXXXXX5678"
        )
    )
    message: pb.Message = field(default_factory=lambda: pb.Message(message_id=MESSAGE_ID))
    jwk_set: str = '{"keys":[]}'
    failure: Exception | None = None
    # Each watch sends the next of these lists, one event a response, and ends.
    watches: list[list[pb.Event]] = field(default_factory=list)
    sent: list[pb.OutboundMessage] = field(default_factory=list)
    watched: list[api.WatchEventsRequest] = field(default_factory=list)

    def _check(self, context: grpc.ServicerContext) -> None:
        if self.failure is not None:
            status = to_status(self.failure)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            codes = {code.value[0]: code for code in grpc.StatusCode}
            context.abort(codes[status.code], status.message)

    def SendMessage(  # noqa: N802 -- the name of the RPC
        self, request: api.SendMessageRequest, context: grpc.ServicerContext
    ) -> api.SendMessageResponse:
        """Keep the message."""
        self._check(context)
        self.sent.append(request.message)
        return api.SendMessageResponse(accepted=self.accepted)

    def GetPayloadKeys(  # noqa: N802
        self, request: api.GetPayloadKeysRequest, context: grpc.ServicerContext
    ) -> api.GetPayloadKeysResponse:
        """Return the payload keys."""
        self._check(context)
        return api.GetPayloadKeysResponse(jwk_set=self.jwk_set, tenant="demo")

    def GetMessage(  # noqa: N802
        self, request: api.GetMessageRequest, context: grpc.ServicerContext
    ) -> api.GetMessageResponse:
        """Return the message."""
        self._check(context)
        return api.GetMessageResponse(message=self.message)

    def CancelMessage(  # noqa: N802
        self, request: api.CancelMessageRequest, context: grpc.ServicerContext
    ) -> api.CancelMessageResponse:
        """Return the message."""
        self._check(context)
        return api.CancelMessageResponse(message=self.message)

    def WatchEvents(  # noqa: N802
        self, request: api.WatchEventsRequest, context: grpc.ServicerContext
    ) -> Iterator[api.WatchEventsResponse]:
        """Send what is planned for this watch."""
        self._check(context)
        self.watched.append(request)
        yield api.WatchEventsResponse(cursor="here")
        for event in self.watches.pop(0) if self.watches else []:
            yield api.WatchEventsResponse(events=[event], cursor=event.cursor)


@pytest.fixture
def node(site: Path) -> Iterator[FakeNode]:
    """Run a node of the site's identity, to which client.yaml points."""
    fake = FakeNode()  # type: ignore[abstract]  # RPCs that no command calls
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    rpc.add_MessageServiceServicer_to_server(fake, server)
    svid = SvidFiles(site / "pki/gateway.pem", site / "pki/gateway.key")
    bundles = BundleFiles({TrustDomain(DOMAIN): site / "ca/root.pem"}).bundles
    fake.port = server.add_secure_port("127.0.0.1:0", server_credentials(svid, bundles))
    client = site / "client.yaml"
    client.write_text(client.read_text().replace("127.0.0.1:7443", f"127.0.0.1:{fake.port}"))
    server.start()
    yield fake
    server.stop(0).wait(10)


@pytest.fixture
def invoke(site: Path) -> Invoke:
    """Run `smsgw` in this process, with the site's folder where a command takes one."""

    def run(*arguments: str, **kwargs: object) -> Result:
        return CliRunner(env={"SMSGW_DIR": str(site)}).invoke(main, arguments, **kwargs)  # type: ignore[arg-type]  # as is

    return run
