"""From one provider to the next: the newest wraps, each unwraps its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.sealing.provider_set import ProviderSet
from gateway.sealing.providers import FileKeyProvider, ProviderUnavailable, Wrapped
from gateway.sealing.rsa_provider import RsaProvider
from tests.gateway.sealing.boxes import kek_file
from tests.gateway.sealing.providers import conforms, context
from tests.gateway.sealing.test_rsa_provider import halves, rsa_key


def test_from_a_file_to_rsa(tmp_path: Path) -> None:
    """What the file's key has wrapped still opens, and what is new is wrapped by RSA."""
    file = FileKeyProvider(kek_file(tmp_path))
    _, private = halves(tmp_path, rsa_key())
    key = os.urandom(32)
    old = file.wrap(key, context())
    both = ProviderSet(RsaProvider(None, [private]), [file])
    assert both.unwrap(old, context()) == key
    assert conforms(both, flip=slice(None, None, 64)).kek_id.startswith("rsa:")
    assert (both.local, ProviderSet(file).local) == (False, True)
    assert "1 older" in repr(both)


def test_a_key_that_nothing_is_configured_for(tmp_path: Path) -> None:
    """It may be configured yet, so a message under it waits, and is not given up."""
    providers = ProviderSet(FileKeyProvider(kek_file(tmp_path)))
    with pytest.raises(ProviderUnavailable, match=r"aws:arn.*older_keks"):
        providers.unwrap(Wrapped("aws:arn", b""), context())
