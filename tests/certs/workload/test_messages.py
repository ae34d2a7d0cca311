"""The Workload API's message, as octets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.errors import BadUpdate
from certs.workload.messages import MAX_UPDATE_BYTES, read_offer
from smsgw.spiffe import workload_pb2 as pb
from tests.certs.workload.spire import Identity, response

TEXTS = st.text(max_size=20)
OCTETS = st.binary(max_size=40)


@given(
    st.lists(st.tuples(TEXTS, OCTETS, OCTETS, OCTETS, TEXTS), max_size=4),
    st.dictionaries(TEXTS, OCTETS, max_size=4),
    st.lists(OCTETS, max_size=2),
)
def test_it_is_the_message_of_the_specification(
    svids: list[tuple[str, bytes, bytes, bytes, str]], federated: dict[str, bytes], crl: list[bytes]
) -> None:
    """What the stubs of the whole definition write, and what is written by hand, is read field by field."""
    message = pb.X509SVIDResponse(
        svids=[pb.X509SVID(spiffe_id=a, x509_svid=b, x509_svid_key=c, bundle=d, hint=e) for a, b, c, d, e in svids],
        crl=crl,
        federated_bundles=federated,
    )
    by_hand = response(
        *(Identity(spiffe_id=a, chain=b, key=c, bundle=d, hint=e) for a, b, c, d, e in svids),
        federated=federated,
        crl=crl,
    )
    for octets in (message.SerializeToString(), by_hand):
        offer = read_offer(octets)
        assert [(s.spiffe_id, s.chain, s.key, s.bundle, s.hint) for s in offer.svids] == svids
        assert offer.federated == federated


@given(st.binary(max_size=200))
def test_noise(octets: bytes) -> None:
    """Whatever comes, a message or the one error comes out."""
    try:
        read_offer(octets)
    except BadUpdate:
        return


def test_bounds_and_secrets() -> None:
    """A message beyond 4 MiB is not looked at, and a key is not shown."""
    with pytest.raises(BadUpdate, match="at most"):
        read_offer(bytes(MAX_UPDATE_BYTES + 1))
    offer = read_offer(response(Identity(spiffe_id="a", key=b"secret-key")))
    assert "secret" not in repr(offer)
