"""A certificate for the simulated carrier: made once, by an authority that shares no code with ours."""

from __future__ import annotations

import pytest

from tests.certificates import TestAuthority
from tests.quirks.linked import CertificateFiles
from tests.quirks.way import Files


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A certificate for localhost, and the authority that made it."""
    folder = tmp_path_factory.mktemp("quirks")
    authority = TestAuthority("carrier.test")
    certificate, key = authority.svid("/smsc", dns=("localhost",)).write(folder, "smsc")
    ca = folder / "ca.pem"
    ca.write_bytes(authority.bundle_pem)
    return Files(certificate=certificate, key=key, ca=ca)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    """A carrier's certificates, right and wrong."""
    return CertificateFiles.make(tmp_path_factory.mktemp("certificates"))
