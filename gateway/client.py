"""A small client of the API: opens the mutual-TLS channel, watches events across lost connections, explains errors.

It is what the commands use; a service needs no more than the stubs (README). It must not know how anything is printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from google.rpc import (  # type: ignore[import-untyped]  # googleapis-common-protos ships no types
    error_details_pb2,
    status_pb2,
)

from certs.errors import CertsError, NotValidNow
from certs.svid import X509Svid
from certs.tls import BundleFiles, channel_credentials, server_name_option
from certs.verify import check_time
from gateway.config.client_file import ClientSettings
from smsgw.v1 import message_service_pb2 as api
from smsgw.v1.message_service_pb2_grpc import MessageServiceStub

if TYPE_CHECKING:
    from smsgw.v1.message_service_pb2_grpc import MessageServiceAsyncStub  # known to the stubs' types only

CALL_TIMEOUT_S = 15.0
_BACKOFF_MIN_S = 0.2
_BACKOFF_MAX_S = 10.0
# What gRPC says of a connection that failed, and what that means; the first that fits.
_LAST_ERROR = re.compile(r"^failed to connect to all addresses; last error: \w+: (?:ipv[46]:\S+: )?")
_TRANSPORT = {
    "Hostname Verification": "what answers at {target} is trusted, and its certificate has another DNS name; correct "
    "the server name",
    "CERTIFICATE_VERIFY_FAILED": "what answers at {target} could not prove who it is: its certificate does not come "
    "from the trust bundle; is that the bundle of its trust domain?",
    "WRONG_VERSION_NUMBER": "what answers at {target} does not speak TLS",
    "Socket closed": "the node at {target} closed the connection: it does not trust the authority of this certificate, "
    "or it is just stopping",
    "onnection reset": "the node at {target} closed the connection: it does not trust the authority of this "
    "certificate, or it is just stopping",
    "Connection refused": "no node listens at {target}",
}
_DETAILS = "grpc-status-details-bin"
_TRANSIENT = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})


class IdentityUnusable(Exception):
    """The caller's own certificate, key or bundle cannot be used; the text says what to do. Nothing was sent."""


@dataclass
class CallFailed(Exception):
    """A call failed: gRPC code, the node's stable reason (empty when the node never answered), text for people."""

    code: grpc.StatusCode
    reason: str
    text: str
    violations: tuple[tuple[str, str], ...] = ()  # (field path, description)
    retry_after_s: float | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def transient(self) -> bool:
        """Whether the same call may work a little later."""
        return self.code in _TRANSIENT


class Credentials(NamedTuple):
    """What a channel is opened with."""

    channel: grpc.ChannelCredentials
    caller: str  # the SPIFFE ID


def load_credentials(settings: ClientSettings, now: dt.datetime) -> Credentials:
    """Return the caller's credentials from their files. Raises IdentityUnusable."""
    try:
        svid = X509Svid.load(settings.svid_file, settings.svid_key_file)
        check_time(svid.facts.not_before, svid.facts.not_after, now)
        domain = svid.spiffe_id.trust_domain
        bundle = BundleFiles({domain: settings.bundle_file}).bundles.get(domain)
    except NotValidNow as error:
        raise IdentityUnusable(f"{settings.svid_file}: {error}; issue a new one with `smsgw ca issue`") from error
    except CertsError as error:
        raise IdentityUnusable(str(error)) from error
    if bundle is None:
        raise IdentityUnusable(f"{settings.bundle_file} has no bundle of {domain}")
    return Credentials(channel_credentials(svid, bundle), str(svid.spiffe_id))


@contextlib.asynccontextmanager
async def open_channel(settings: ClientSettings) -> AsyncIterator[grpc.aio.Channel]:
    """Open a channel for the caller; nothing is sent before the first call. Raises IdentityUnusable.

    The SVID is read anew each time: a channel cannot change it (certs.tls).
    """
    credentials = load_credentials(settings, dt.datetime.now(dt.UTC))
    options = [server_name_option(settings.server_name), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(str(settings.target), credentials.channel, options=options) as channel:
        yield channel


@contextlib.asynccontextmanager
async def connect(settings: ClientSettings) -> AsyncIterator[MessageServiceAsyncStub]:
    """Open a channel for the caller, and return what it calls MessageService by. Raises IdentityUnusable."""
    async with open_channel(settings) as channel:
        yield MessageServiceStub(channel)


@contextlib.contextmanager
def explained(settings: ClientSettings) -> Iterator[None]:
    """Turn an RpcError inside into CallFailed."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise explain(error, str(settings.target)) from error


def explain(error: grpc.aio.AioRpcError, target: str) -> CallFailed:
    """Return what the error says, with the node's google.rpc details; or that the node was not reached."""
    status = _status(error)
    if status is None:
        return CallFailed(error.code(), "", _transport_text(error, target))
    failed = CallFailed(error.code(), "", status.message)
    for detail in status.details:
        info, wrong, retry = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.RetryInfo(),
        )
        for kind in (info, wrong, retry):
            _unpack(detail, kind)
        failed.reason = info.reason or failed.reason
        failed.violations += tuple((item.field, item.description) for item in wrong.field_violations)
        if retry.HasField("retry_delay"):
            failed.retry_after_s = retry.retry_delay.ToMicroseconds() / 1e6
    if failed.violations:
        failed.text = "\n".join(f"{field}: {description}" for field, description in failed.violations)
    elif failed.retry_after_s is not None:
        failed.text += f" (try again in {failed.retry_after_s:g} s)"
    return failed


def _unpack(detail: object, target: Message) -> None:
    with contextlib.suppress(DecodeError):
        detail.Unpack(target)  # type: ignore[attr-defined]  # google.protobuf.any_pb2.Any, well-known mixin


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    """Return the google.rpc.Status that the node sent, None when the error was made on this side."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            with contextlib.suppress(DecodeError):
                return status_pb2.Status.FromString(value)
    return None


def _transport_text(error: grpc.aio.AioRpcError, target: str) -> str:
    details = _LAST_ERROR.sub("", error.details() or "")
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"the node at {target} did not answer in time"
    if error.code() is not grpc.StatusCode.UNAVAILABLE:
        return f"{error.code().name}: {details}"
    for sign, text in _TRANSPORT.items():
        if sign in details:
            return text.format(target=target)
    return f"no node could be reached at {target}: {details}"


async def watch(
    settings: ClientSettings,
    request: api.WatchEventsRequest,
    *,
    on_lost: Callable[[CallFailed, float], None] = lambda _failed, _wait_s: None,
) -> AsyncGenerator[api.WatchEventsResponse, None]:
    """Yield what WatchEvents sends, from the request on, for ever; a lost stream goes on after the last cursor.

    Raises CallFailed when the first stream cannot be opened, or when the node refuses; IdentityUnusable likewise.
    `on_lost` is told of each lost connection and of the seconds until the next attempt.
    """
    position = api.WatchEventsRequest()
    position.CopyFrom(request)
    attached, wait_s = False, _BACKOFF_MIN_S
    while True:
        try:
            async with connect(settings) as stub:
                with explained(settings):
                    async for response in stub.WatchEvents(position):
                        attached, wait_s = True, _BACKOFF_MIN_S
                        if response.cursor:
                            position.cursor = response.cursor
                        yield response
            failed = CallFailed(grpc.StatusCode.UNAVAILABLE, "", "the node ended the stream")
        except CallFailed as error:
            if not attached or not error.transient:
                raise
            failed = error
        on_lost(failed, wait_s)
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, _BACKOFF_MAX_S)
