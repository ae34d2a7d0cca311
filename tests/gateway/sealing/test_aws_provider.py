"""AWS KMS: moto judges calls and encryption context; a fake of ours refuses, throttles, hangs and lies."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from gateway.sealing import aws_provider
from gateway.sealing.aws_provider import AwsKmsProvider
from gateway.sealing.keyring import new_key_id
from gateway.sealing.providers import ProviderUnavailable, UnwrapRefused, Wrapped
from tests.gateway.sealing.providers import MADE_AT, conforms, context

REGION = "eu-central-1"
ARN = f"arn:aws:kms:{REGION}:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture(scope="module", autouse=True)
def credentials() -> Iterator[None]:
    """Credentials that open nothing, and no place to look for others."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_"):
                patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_ENDPOINT_URL", "https://elsewhere.example")  # it has no say
        yield


@pytest.fixture
def over_moto() -> Iterator[AwsKmsProvider]:
    """Give a provider over a key that moto keeps."""
    with mock_aws():
        usual = Config(ignore_configured_endpoint_urls=True)
        made = boto3.session.Session().client("kms", region_name=REGION, config=usual).create_key()
        yield AwsKmsProvider(key_arn=made["KeyMetadata"]["Arn"], region=REGION)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_moto(over_moto: AwsKmsProvider) -> None:
    """Wraps open under their own encryption context and key only."""
    wrapped = conforms(over_moto, flip=slice(40, None, 9))
    assert wrapped.kek_id.startswith("aws:arn:aws:kms:eu-central-1:")
    assert over_moto.kek_id in repr(over_moto).replace("AwsKmsProvider(", "aws:")


class FakeKms:
    """Answers each call with the next of `answers`, (status, document), and notes what was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.hold = threading.Event()
        self.hold.set()


@contextmanager
def fake_kms() -> Iterator[FakeKms]:
    """Run a fake on loopback, in plain text: TLS is botocore's matter."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fake.asked.append((self.headers["X-Amz-Target"], asked))
            fake.hold.wait(20)
            status, document = fake.answers.pop(0)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(HTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing: who hung up is the test's matter."""

    with Server(("127.0.0.1", 0), Handler) as server:
        fake = FakeKms(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield fake
        finally:
            fake.hold.set()
            server.shutdown()
            thread.join(20)


@pytest.fixture(scope="module")
def running() -> Iterator[FakeKms]:
    """Run a fake for all tests."""
    with fake_kms() as kms:
        yield kms


@pytest.fixture(scope="module")
def provider(running: FakeKms) -> AwsKmsProvider:
    """Give a provider over the fake; to make its client takes a third of a second."""
    return AwsKmsProvider(key_arn=ARN, region=REGION, endpoint=running.url)


@pytest.fixture
def kms(running: FakeKms) -> FakeKms:
    """Give the fake, which has not been asked yet."""
    running.asked.clear()
    running.answers.clear()
    return running


def refusal(code: str) -> tuple[int, dict[str, Any]]:
    """Return an error as KMS tells it."""
    return 500 if code == "KMSInternalException" else 400, {"__type": code, "message": "secret words of the service"}


@pytest.mark.parametrize(
    "code",
    ["DisabledException", "KMSInvalidStateException", "KeyUnavailableException", "AccessDeniedException",
     "NotFoundException", "ExpiredTokenException", "NobodyKnowsException"],
)  # fmt: skip
def test_what_may_pass(kms: FakeKms, provider: AwsKmsProvider, code: str) -> None:
    """A key that is disabled or pending deletion, a policy, an expired credential: nothing is given up for it."""
    kms.answers = [refusal(code)] * 2
    with pytest.raises(ProviderUnavailable, match=code) as refused:
        provider.unwrap(Wrapped(provider.kek_id, b"x"), context())
    assert "secret words" not in str(refused.value)
    with pytest.raises(ProviderUnavailable, match=code):
        provider.wrap(bytes(32), context())


@pytest.mark.parametrize("code", ["InvalidCiphertextException", "IncorrectKeyException"])
def test_what_is_refused_for_good(kms: FakeKms, provider: AwsKmsProvider, code: str) -> None:
    """Only a record that the service itself calls altered."""
    kms.answers = [refusal(code)]
    with pytest.raises(UnwrapRefused, match=code):
        provider.unwrap(Wrapped(provider.kek_id, b"x"), context())


def test_throttled(kms: FakeKms, provider: AwsKmsProvider) -> None:
    """A throttled call is tried once more, and then it is an outage."""
    kms.answers = [refusal("ThrottlingException"), (200, {"KeyId": ARN, "CiphertextBlob": "d3JhcA=="})]
    assert provider.wrap(bytes(32), context()) == Wrapped(provider.kek_id, b"wrap")
    kms.answers = [refusal("ThrottlingException")] * 2
    with pytest.raises(ProviderUnavailable, match="ThrottlingException"):
        provider.wrap(bytes(32), context())
    assert len(kms.asked) == 4


def test_what_is_asked(kms: FakeKms, provider: AwsKmsProvider) -> None:
    """The key by its ARN, and the encryption context in names that a policy of the key can ask for."""
    kms.answers = [(200, {"KeyId": ARN, "CiphertextBlob": "d3JhcA=="})]
    provider.wrap(bytes(32), context())
    ((target, asked),) = kms.asked
    assert (target, asked["KeyId"]) == ("TrentService.Encrypt", ARN)
    assert asked["EncryptionContext"] == {
        "purpose": "smsgw data key, version 1",
        "key": new_key_id(MADE_AT, b"\0\0\0\0\0\1").hex(),
        "node": "node-1",
        "tenant": "demo",
        "made_at": "1790000000",
        "usable_until": "1790000900",
    }


def test_another_key_answers(kms: FakeKms, provider: AwsKmsProvider) -> None:
    """An answer for another key is not believed."""
    kms.answers = [(200, {"KeyId": ARN.replace("1234abcd", "aaaaaaaa"), "Plaintext": "AAAA"})]
    with pytest.raises(ProviderUnavailable, match="another key"):
        provider.unwrap(Wrapped(provider.kek_id, b"x"), context())


def test_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is not there, or does not answer, is waited for as long as is stated."""
    monkeypatch.setattr(aws_provider, "_ANSWER_S", 0.1)
    monkeypatch.setattr(aws_provider, "_ATTEMPTS", 1)
    with fake_kms() as kms:
        kms.hold.clear()
        provider = AwsKmsProvider(key_arn=ARN, region=REGION, endpoint=kms.url)
        with pytest.raises(ProviderUnavailable, match="ReadTimeoutError"):
            provider.wrap(bytes(32), context())
        kms.answers = [(200, {})]
    with pytest.raises(ProviderUnavailable, match="EndpointConnectionError"):
        provider.wrap(bytes(32), context())


def test_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials it is said, and nobody is asked."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(ProviderUnavailable, match="NoCredentialsError"):
        AwsKmsProvider(key_arn=ARN, region=REGION, endpoint="http://127.0.0.1:9").wrap(bytes(32), context())
