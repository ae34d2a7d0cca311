"""Audit records: one of each kind, and strategies that make any."""

from __future__ import annotations

import hypothesis.strategies as st

from gateway.audit.records import (
    AlertChanged,
    CancelAnswered,
    CancelAsked,
    CertificateRenewed,
    ConfigLoaded,
    Decision,
    InboundReceived,
    KeyCreated,
    KeyDestroyed,
    MessageAccepted,
    MessagesRouted,
    MessagesSending,
    MessageStored,
    NodeStarted,
    NodeStopped,
    OperatorActed,
    PoliciesReplaced,
    PrivacyActed,
    Record,
    Recovered,
    RevocationChanged,
    RouteDenied,
    StateChanged,
)

AT = 1_800_000_000_123_456
ID = bytes.fromhex("01a20a82af4e7000800059821521b519")
OTHER_ID = bytes.fromhex("01a20a82af5770008000e871b5cf5418")
CALLER = "spiffe://example.org/acme/api"

SAMPLES: tuple[Record, ...] = (
    Decision(
        at=AT,
        allowed=False,
        caller=CALLER,
        tenant="acme",
        serial="c8e3",
        authority_key_id="f271",
        address="192.0.2.7",
        method="/smsgw.v1.MessageService/SendMessage",
        action="SendOtp",
        reason="FORBIDDEN",
        policy="no-otp-at-night",
        since=AT - 1,
        times=3,
    ),
    MessageAccepted(AT, ID, "acme", CALLER, 1, "ACME", "DE", 2, replayed=False),
    StateChanged(AT, ID, "acme", 2, 8, "carrier-1", "CARRIER_REJECTED", 0x0B, ""),
    MessagesSending(AT, "acme", "carrier-1", "any-route", (ID, OTHER_ID)),
    InboundReceived(AT, ID, "acme", "carrier-1", 3),
    RouteDenied(AT, ID, "acme", "carrier-1", "FORBIDDEN", "not-abroad"),
    Recovered(AT, 7, 2),
    NodeStarted(AT, "node-1", "0.1.0", "ab" * 32),
    NodeStopped(AT, "node-1"),
    ConfigLoaded(AT, "node-1", "policies", "cd" * 32),
    KeyCreated(AT, "512cb6a008db5b5a", "acme"),
    CertificateRenewed(AT, "svid", "c8e3"),
    OperatorActed(AT, "node-1", CALLER, "carrier paused", "carrier-1", "acme", 3, True, 12, "they asked us to"),
    MessagesRouted(AT, "acme", "carrier-1", "any-route", "india", "ACMEIN", (ID, OTHER_ID)),
    CancelAsked(AT, ID, "acme", "carrier-1", 2, CALLER),
    CancelAnswered(AT, ID, "acme", "carrier-1", 1, 0, 0x11),
    AlertChanged(AT, "node-1", "audit_failing", "what=journal", True),
    PoliciesReplaced(AT, "node-1", CALLER, "ab" * 32, "cd" * 32, 60),
    RevocationChanged(
        AT,
        "node-1",
        "spiffe://example.org/admin/ann",
        False,
        "5f3a9c2e",
        "certificate",
        "spiffe://example.org/acme",
        "3d54",
        "1e44",
        "",
        "hold",
        "host lost",
    ),
    MessageStored(AT, ID, "acme", CALLER, 1, "ACME", "DE", 2, bytes(range(32))),
    PrivacyActed(AT, "node-1", CALLER, "erased", "acme", 12, 1, 3, "he asked for it"),
    KeyDestroyed(AT, "node-1", "", "50a8000102030405", "acme", "nothing is kept under it"),
)


def decision(**fields: object) -> Decision:
    """Return a denial of one call with some fields changed."""
    sample = SAMPLES[0]
    assert isinstance(sample, Decision)
    return sample._replace(since=AT, times=1)._replace(**fields)  # type: ignore[arg-type]  # names are checked there


_at = st.integers(0, 2**64 - 1)
_name = st.text(max_size=60)
_spiffe = st.text(max_size=500)
_policy = st.text(max_size=250)
_id = st.binary(min_size=16, max_size=16)
_state = st.integers(1, 9)
_u32 = st.integers(0, 2**32 - 1)
_u16 = st.integers(0, 2**16 - 1)

accepted = st.builds(MessageAccepted, _at, _id, _name, _spiffe, st.integers(1, 3), _name, _name, _u16, st.booleans())
_digest = st.binary(min_size=32, max_size=32)
stored = st.builds(MessageStored, _at, _id, _name, _spiffe, st.integers(1, 3), _name, _name, _u16, _digest)
changed = st.builds(StateChanged, _at, _id, _name, _state, _state, _name, _name, st.none() | _u32, _spiffe)
inbound = st.builds(InboundReceived, _at, _id, _name, _name, _u16)
sending = st.builds(MessagesSending, _at, _name, _name, _policy, st.lists(_id, min_size=1, max_size=20).map(tuple))
_ids = st.lists(_id, min_size=1, max_size=20).map(tuple)
routed = st.builds(MessagesRouted, _at, _name, _name, _policy, _name.filter(bool), _name, _ids)
records: st.SearchStrategy[Record] = st.one_of(
    st.builds(Decision, _at, st.booleans(), _spiffe, *[_name] * 7, _policy, _at, st.integers(1, 2**32 - 1)),
    accepted,
    stored,
    changed,
    inbound,
    sending,
    routed,
    st.builds(RouteDenied, _at, _id, _name, _name, _name, _policy),
    st.builds(Recovered, _at, _u32, _u32),
    st.builds(NodeStarted, _at, _name, _name, _name),
    st.builds(NodeStopped, _at, _name),
    st.builds(ConfigLoaded, _at, _name, _name, _name),
    st.builds(KeyCreated, _at, _name, _name),
    st.builds(CertificateRenewed, _at, _name, _name),
    st.builds(OperatorActed, _at, _name, _spiffe, _name, _name, _name, st.integers(0, 3), st.booleans(), _at, _policy),
    st.builds(CancelAsked, _at, _id, _name, _name, st.integers(1, 2**16 - 1), _spiffe),
    st.builds(CancelAnswered, _at, _id, _name, _name, _u16, _u16, st.none() | _u32),
    st.builds(AlertChanged, _at, _name, _name, _name, st.booleans()),
    st.builds(PrivacyActed, _at, _name, _spiffe, _name, _name, _at, _at, _at, _policy),
    st.builds(KeyDestroyed, _at, _name, _spiffe, _name, _name, _policy),
    st.builds(PoliciesReplaced, _at, _name, _spiffe, _name, _name, _u32),
    st.builds(
        RevocationChanged, _at, _name, _name, st.booleans(), _name, _name, _name, _name, _name, _name, _name, _name
    ),
)
