"""The source on an event loop, and the one on a thread, against a Workload API on a real socket."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from certs.errors import BadEndpoint, NoIdentity
from certs.spiffe_id import SpiffeId
from certs.workload import following
from certs.workload.blocking import BlockingX509Source
from certs.workload.endpoint import Endpoint
from certs.workload.following import Change, Standing
from certs.workload.messages import MAX_UPDATE_BYTES, Offer
from certs.workload.source import X509Source
from certs.workload.state import Pick
from tests.certificates import TestAuthority
from tests.certs.workload.spire import BOUND_S, Spire, identity, response, serving

A = TestAuthority("example.org")
Source = X509Source | BlockingX509Source


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a source begin anew sooner than it would."""
    monkeypatch.setattr(following, "RETRY_MIN_S", 0.02)


def message(path: str = "/service") -> tuple[str, bytes]:
    """Return a serial number, and the message with that SVID."""
    issued = A.svid(path)
    return f"{issued.leaf.serial_number:x}", response(identity(A, issued, path))


@pytest.fixture(params=[X509Source, BlockingX509Source])
def kind(request: pytest.FixtureRequest) -> type[Source]:
    """Either source."""
    found: type[Source] = request.param
    return found


@asynccontextmanager
async def followed(source: Source) -> AsyncIterator[Source]:
    """Run a source; the blocking one's ends may wait, so they run on a thread."""
    if isinstance(source, X509Source):
        async with source:
            yield source
        return
    with_thread = source.__enter__()
    try:
        yield with_thread
    finally:
        await asyncio.to_thread(source.close)


async def ready(source: Source, timeout_s: float = BOUND_S) -> None:
    """Wait for the first SVID."""
    if isinstance(source, X509Source):
        await source.ready(timeout_s)
    else:
        await asyncio.to_thread(source.ready, timeout_s)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(BOUND_S):
        while not condition():
            await asyncio.sleep(0.01)


async def test_follow(kind: type[Source], tmp_path: Path) -> None:
    """The first state comes, later ones are told to listeners, and every call carries the header."""
    serial, first = message()
    spire = Spire(first)
    async with serving(spire, tmp_path / "api.sock") as text, followed(kind(Endpoint.parse(text))) as source:
        changes: list[Change] = []
        await ready(source)
        source.subscribe(changes.append)
        assert (source.svid.serial, source.version) == (serial, 1)
        later, second = message()
        spire.say(second)
        await until(lambda: bool(changes))
        assert (source.svid.serial, source.version, changes) == (later, 2, [Change(svid=True, bundles=False)])
        assert [headers["workload.spiffe.io"] for headers in spire.headers] == ["true"]


async def test_tcp_on_loopback(kind: type[Source], tmp_path: Path) -> None:
    """TCP on loopback serves as well as a Unix socket."""
    serial, first = message()
    async with (
        serving(Spire(first), tmp_path / "no", "127.0.0.1:0") as text,
        followed(kind(Endpoint.parse(text))) as source,
    ):
        await ready(source)
        assert source.svid.serial == serial


async def test_gone_and_back(kind: type[Source], tmp_path: Path) -> None:
    """While the Workload API is gone the SVID stays; once it is back the new one is taken up, by the same source."""
    serial, first = message()
    later, second = message()
    socket = tmp_path / "api.sock"
    async with followed(kind(Endpoint.parse(f"unix://{socket}"))) as source:
        await until(lambda: source.standing is Standing.AWAY)
        assert not source.has_identity
        async with serving(Spire(first), socket):
            await ready(source)
        await until(lambda: source.standing is Standing.AWAY)
        assert (source.svid.serial, source.version) == (serial, 1)
        async with serving(Spire(second), socket):
            await until(lambda: source.version == 2)
        assert source.svid.serial == later


async def test_bad_updates_are_passed_over(kind: type[Source], tmp_path: Path) -> None:
    """Between two good messages no bad one changes anything: noise, nothing, an expired SVID, too much."""
    serial, first = message()
    spire = Spire(first)
    expired = A.svid(not_before=A.now - dt.timedelta(hours=1), not_after=A.now - dt.timedelta(minutes=5))
    bad = [b"\xff\xff", b"", response(identity(A, expired)), bytes(MAX_UPDATE_BYTES + 1)]
    async with serving(spire, tmp_path / "api.sock") as text, followed(kind(Endpoint.parse(text))) as source:
        await ready(source)
        for octets in bad:
            before = source.trouble
            spire.say(octets)
            await until(lambda before=before: source.trouble != before)  # type: ignore[misc]  # a lambda with a default
            assert (source.svid.serial, source.version) == (serial, 1)
        later, second = message()
        spire.say(second)
        await until(lambda: source.version == 2)
        assert (source.svid.serial, source.standing) == (later, Standing.FOLLOWING)


async def test_streams_that_end(kind: type[Source], tmp_path: Path) -> None:
    """A stream that ends in order is opened anew, with nothing changed."""
    _, first = message()
    spire = Spire(first)
    async with serving(spire, tmp_path / "api.sock") as text, followed(kind(Endpoint.parse(text))) as source:
        await ready(source)
        spire.hang_up()
        await until(lambda: spire.calls == 2)
        assert (source.version, source.standing) == (1, Standing.FOLLOWING)


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED])
async def test_no_retry(kind: type[Source], code: grpc.StatusCode, tmp_path: Path) -> None:
    """A code that no retry helps is told at once, and nobody calls again (Workload Endpoint §6)."""
    spire = Spire(refusal=(code, "security header missing"))
    async with serving(spire, tmp_path / "api.sock") as text, followed(kind(Endpoint.parse(text))) as source:
        with pytest.raises(NoIdentity, match=f"{code.name}: security header missing"):
            await ready(source)
        assert (spire.calls, source.standing) == (1, Standing.STOPPED)


async def test_denied_then_given(kind: type[Source], tmp_path: Path) -> None:
    """A process that has no identity yet gets it when it is registered, without being started again."""
    spire = Spire(refusal=(grpc.StatusCode.PERMISSION_DENIED, "no identity issued"))
    serial, first = message()
    async with serving(spire, tmp_path / "api.sock") as text, followed(kind(Endpoint.parse(text))) as source:
        await until(lambda: source.standing is Standing.DENIED)
        with pytest.raises(NoIdentity, match="no identity issued"):
            await ready(source, 0.01)
        spire.say(first)
        await ready(source)
        assert source.svid.serial == serial


async def test_denied_for_good(kind: type[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Denied again and again, the identity is given up while the source goes on asking."""
    monkeypatch.setattr(following, "DENIED_FOR_S", 0.1)
    _, first = message()
    spire = Spire(first)
    async with serving(spire, tmp_path / "api.sock") as text, followed(kind(Endpoint.parse(text))) as source:
        await ready(source)
        spire.refuse(grpc.StatusCode.PERMISSION_DENIED)
        await until(lambda: not source.has_identity)
        assert source.bundles.all() == ()
        spire.say(first)
        await ready(source)
        assert source.version == 3


async def test_a_silent_one(kind: type[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that accepts calls and says nothing is left after a while, and called again."""
    monkeypatch.setattr(following, "ANSWER_S", 0.2)
    serial, first = message()
    spire = Spire(first, silent=True)
    async with serving(spire, tmp_path / "api.sock") as text, followed(kind(Endpoint.parse(text))) as source:
        await until(lambda: spire.calls >= 2)
        with pytest.raises(NoIdentity, match="did not answer within"):
            await ready(source, 0.01)
        monkeypatch.setattr(following, "ANSWER_S", BOUND_S)
        spire.silent = False
        await ready(source)
        assert source.svid.serial == serial


async def test_a_defect_does_not_end_the_following(
    kind: type[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that nobody foresaw is logged, leaves what is held, and the next stream is followed."""
    _, first = message()
    later, second = message()
    spire = Spire(first)

    def fail(_octets: bytes) -> Offer:
        raise RuntimeError("a defect")

    async with serving(spire, tmp_path / "api.sock") as text, followed(kind(Endpoint.parse(text))) as source:
        await ready(source)
        with monkeypatch.context() as broken:
            broken.setattr(following, "read_offer", fail)
            spire.say(second)
            await until(lambda: "unexpected error" in source.trouble)
            assert source.version == 1
        await until(lambda: source.version == 2)
        assert source.svid.serial == later
    assert any(record.msg == "workload_api_failed" for record in caplog.records)


async def test_the_environment(kind: type[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SPIFFE_ENDPOINT_SOCKET says where, and an identity can be picked."""
    spire = Spire(response(identity(A, A.svid("/one"), "/one"), identity(A, A.svid("/two"), "/two", "second")))
    monkeypatch.delenv("SPIFFE_ENDPOINT_SOCKET", raising=False)
    with pytest.raises(BadEndpoint):
        kind.of_environment()
    async with serving(spire, tmp_path / "api.sock") as text:
        monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", text)
        async with followed(kind.of_environment(Pick(hint="second"))) as source:
            await ready(source)
            assert (source.svid.spiffe_id, source.hint) == (SpiffeId.parse("spiffe://example.org/two"), "second")


async def test_ending_does_not_wait(kind: type[Source], tmp_path: Path) -> None:
    """A source ends at once, in the middle of a stream and in the middle of a pause, and can still be read."""
    serial, first = message()
    async with asyncio.timeout(BOUND_S):
        async with serving(Spire(first), tmp_path / "api.sock") as text, followed(kind(Endpoint.parse(text))) as source:
            await ready(source)
        assert source.svid.serial == serial
        async with followed(kind(Endpoint.parse(f"unix://{tmp_path}/none"))) as source:
            await until(lambda: source.standing is Standing.AWAY)
