"""Key-encryption by AWS KMS: Encrypt and Decrypt of a symmetric key, which never leaves the service.

What the wrap is bound to is the encryption context: it stands in CloudTrail, and policies of the key can ask for it
(`kms:EncryptionContext:tenant`). It needs the package boto3 (the extra `smsgw[aws]`), which finds credentials as it
does everywhere: of the instance, the container, the web identity, or a file. The endpoint is the region's, or the
configured one; no environment variable names another.
"""

from __future__ import annotations

import threading
from typing import Any

from gateway.sealing.keyring import context_fields
from gateway.sealing.providers import ProviderUnavailable, UnwrapRefused, Wrapped

PREFIX = "aws:"
_CONNECT_S = 2.0
_ANSWER_S = 3.0
_ATTEMPTS = 2  # each with the two above: within the deadline of who waits
# What the service refuses for good. All else may pass: throttling, an outage, a key that is disabled or pending
# deletion, a policy that somebody corrects.
_REFUSED = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})


class AwsKmsProvider:
    """One key of AWS KMS. May be used by several threads."""

    def __init__(self, *, key_arn: str, region: str, endpoint: str | None = None) -> None:
        """Args:
        key_arn: the key's ARN; an alias would name another key one day.
        endpoint: the URL of a VPC endpoint; None for the region's own.
        """
        self.kek_id = PREFIX + key_arn
        self._key_arn = key_arn
        self._region = region
        self._endpoint = endpoint
        self._made: Any = None
        self._making = threading.Lock()

    def __repr__(self) -> str:
        return f"AwsKmsProvider({self._key_arn})"

    @property
    def local(self) -> bool:
        """It is not."""
        return False

    def knows(self, kek_id: str) -> bool:
        """Whether it is this key."""
        return kek_id == self.kek_id

    def wrap(self, key: bytes, context: bytes) -> Wrapped:
        """Return `key`, wrapped. Raises ProviderUnavailable."""
        answer = self._call("encrypt", Plaintext=key, EncryptionContext=context_fields(context))
        return Wrapped(self.kek_id, bytes(answer["CiphertextBlob"]))

    def unwrap(self, wrapped: Wrapped, context: bytes) -> bytes:
        """Return the key. Raises UnwrapRefused, ProviderUnavailable."""
        answer = self._call("decrypt", CiphertextBlob=wrapped.octets, EncryptionContext=context_fields(context))
        return bytes(answer["Plaintext"])

    def _call(self, operation: str, **arguments: object) -> dict[str, Any]:
        botocore = _botocore()
        try:
            answer = getattr(self._client(), operation)(KeyId=self._key_arn, **arguments)
        except botocore.exceptions.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            if code in _REFUSED:
                raise UnwrapRefused(
                    f"AWS KMS refuses it ({code}): its record was altered, or is of another key"
                ) from None
            raise ProviderUnavailable(f"AWS KMS does not {operation} with {self._key_arn}: {code}") from None
        except botocore.exceptions.BotoCoreError as error:
            raise ProviderUnavailable(f"AWS KMS in {self._region} cannot be asked: {type(error).__name__}") from None
        if not isinstance(answer, dict) or answer.get("KeyId") != self._key_arn:
            raise ProviderUnavailable(f"AWS KMS answers for another key than {self._key_arn}")
        return answer

    def _client(self) -> Any:
        with self._making:
            if self._made is None:
                import boto3
                from botocore.config import Config

                config = Config(
                    region_name=self._region,
                    connect_timeout=_CONNECT_S,
                    read_timeout=_ANSWER_S,
                    retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                    ignore_configured_endpoint_urls=True,
                    user_agent_appid="smsgw",
                )
                session = boto3.session.Session()  # a client of its own: the default session is shared
                self._made = session.client(
                    "kms", config=config, endpoint_url=self._endpoint, use_ssl=True, verify=True
                )
            return self._made


def _botocore() -> Any:
    try:
        import botocore.exceptions
    except ImportError:
        raise ProviderUnavailable("AWS KMS needs the package boto3: install smsgw[aws]") from None
    return botocore
