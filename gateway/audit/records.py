"""The typed records of the audit: one class a kind, its fields in the order in which they are encoded.

No record holds a recipient, masked or not, a text, a label or a caller's own reference. What identifies somebody is a
service: its SPIFFE ID, its certificate, the address that it calls from. Message ids are random, and lead to a recipient
only for those who can open the message itself.

Times are microseconds since the Unix epoch, UTC. NamedTuples: the writer makes several for every message.
"""

from __future__ import annotations

import enum
from typing import NamedTuple, TypeAlias


class Kind(enum.IntEnum):
    """What a record is; stored. A number is never given to anything else."""

    DECISION = 1
    MESSAGE_ACCEPTED = 2
    STATE_CHANGED = 3
    MESSAGES_SENDING = 4
    INBOUND_RECEIVED = 5
    ROUTE_DENIED = 6
    RECOVERED = 7
    NODE_STARTED = 8
    NODE_STOPPED = 9
    CONFIG_LOADED = 10
    KEY_CREATED = 11
    CERTIFICATE_RENEWED = 12
    OPERATOR_ACTED = 13
    MESSAGES_ROUTED = 14
    CANCEL_ASKED = 15
    CANCEL_ANSWERED = 16
    ALERT_CHANGED = 17
    POLICIES_REPLACED = 18
    REVOCATION_CHANGED = 19
    MESSAGE_STORED = 20
    PRIVACY_ACTED = 21
    KEY_DESTROYED = 22


class Decision(NamedTuple):
    """Whether somebody might do something: one call, one sort of message in it, or so many equal decisions.

    `caller` and `tenant` are empty when nobody was recognised. `serial` and `authority_key_id` are then those that the
    refused certificate names, which proves nothing.
    """

    at: int
    allowed: bool
    caller: str  # SPIFFE ID
    tenant: str
    serial: str  # of the caller's leaf, hexadecimal
    authority_key_id: str  # of its issuer, hexadecimal
    address: str  # of the calling host, "" when it is not known
    method: str  # /package.Service/Method
    action: str  # what the policies call it; "" when no policy was asked
    reason: str
    policy: str  # the id of the policy that decided, "" for none
    since: int  # when the first of them was made; the last, at `at`
    times: int  # how many they are, 1 or more


class MessageAccepted(NamedTuple):
    """An idempotency key led to a message that had been stored before (`replayed`). Otherwise, in logs from before
    MessageStored: a message was stored."""

    at: int
    message_id: bytes
    tenant: str
    owner: str  # SPIFFE ID
    category: int
    sender: str
    country: str  # of the recipient, ISO 3166-1 alpha-2; "ZZ" for none that is known
    segments: int  # 0: not known yet
    replayed: bool


class MessageStored(NamedTuple):
    """A message was accepted and stored. Who has the salt and the message can show that it was this one."""

    at: int
    message_id: bytes
    tenant: str
    owner: str  # SPIFFE ID
    category: int
    sender: str
    country: str  # of the recipient, ISO 3166-1 alpha-2; "ZZ" for none that is known
    segments: int  # 0: not known yet
    commitment: bytes  # see gateway.commitments


class StateChanged(NamedTuple):
    """A message went from a state to another one."""

    at: int
    message_id: bytes
    tenant: str
    before: int
    state: int
    carrier: str  # "" when none had it
    reason: str  # a code; the text for people may quote a carrier, and is not here
    smpp_status: int | None
    by: str  # the SPIFFE ID of the caller that wanted it; "" for node and carrier


class MessagesSending(NamedTuple):
    """Messages went to SENDING: permitted to go by a carrier, and committed to a link of it, at one moment."""

    at: int
    tenant: str
    carrier: str
    policy: str  # that permits this route for them; "" when no policy was asked
    message_ids: tuple[bytes, ...]


class MessagesRouted(NamedTuple):
    """The same as MessagesSending, of messages that a configured route led there."""

    at: int
    tenant: str
    carrier: str
    policy: str  # that permits this way for them
    route: str
    sender: str  # that the carrier was told instead of the messages' own; "" for the same
    message_ids: tuple[bytes, ...]


class CancelAsked(NamedTuple):
    """A carrier is about to be asked to cancel a message that it has taken."""

    at: int
    message_id: bytes
    tenant: str
    carrier: str
    parts: int  # that it is asked to cancel
    by: str  # the SPIFFE ID of the caller that wanted it


class CancelAnswered(NamedTuple):
    """How that ended."""

    at: int
    message_id: bytes
    tenant: str
    carrier: str
    cancelled: int  # of the parts, confirmed by the carrier
    unanswered: int  # of the parts: nobody knows
    smpp_status: int | None  # the first that was no success


class InboundReceived(NamedTuple):
    """A message from a handset is complete."""

    at: int
    inbound_id: bytes
    tenant: str
    carrier: str
    segments: int


class RouteDenied(NamedTuple):
    """A stored message might not go by a carrier."""

    at: int
    message_id: bytes
    tenant: str
    carrier: str
    reason: str
    policy: str


class Recovered(NamedTuple):
    """A start took over what an earlier run had in memory, and doubted what was on its way."""

    at: int
    reclaimed: int
    in_doubt: int


class NodeStarted(NamedTuple):
    """A node begins its work."""

    at: int
    node: str
    version: str
    config: str  # SHA-256 of its configuration, hexadecimal


class NodeStopped(NamedTuple):
    """A node ends in order."""

    at: int
    node: str


class ConfigLoaded(NamedTuple):
    """A configuration, a set of policies, a deny list or a fetched bundle is in force from now on."""

    at: int
    node: str
    what: str  # "configuration", "policies", "deny list", "bundle of DOMAIN"
    digest: str  # SHA-256, hexadecimal


class PoliciesReplaced(NamedTuple):
    """Another set of policies is in force from now on, while the node runs."""

    at: int
    node: str
    by: str  # the SPIFFE ID of the operator who had it reloaded; "" for a signal on the node's own host
    replaced: str  # SHA-256 of the set until then, hexadecimal
    digest: str  # of the new one
    policies: int  # how many it has


class KeyCreated(NamedTuple):
    """A data key was made."""

    at: int
    key_id: str
    tenant: str


class CertificateRenewed(NamedTuple):
    """Renewed certificates were taken up."""

    at: int
    what: str  # "svid" or "bundles"
    serial: str  # of the new leaf, hexadecimal; "" for bundles


class OperatorActed(NamedTuple):
    """Somebody who operates the node did something to a carrier, or to all messages of a selection.

    What does not apply is empty or 0. Whoever selects by recipient is on record, the recipient is not.
    """

    at: int
    node: str
    by: str  # SPIFFE ID
    what: str  # "carrier paused", ...; see docs/audit.md
    carrier: str
    tenant: str
    category: int  # of the selection; 0 for all
    by_recipient: bool
    number: int  # of messages, or of PDUs
    reason: str  # in the operator's words


class AlertChanged(NamedTuple):
    """An alert that is about security was raised, or is over (docs/runbook.md)."""

    at: int
    node: str
    name: str
    labels: str  # "what=decisions": values of the configuration and of enumerations
    active: bool


class RevocationChanged(NamedTuple):
    """Somebody is about to revoke an identity, a certificate or an authority, or to take that back.

    What does not apply is empty.
    """

    at: int
    node: str
    by: str  # SPIFFE ID; "" for who did it at the files
    restored: bool  # it was taken back
    revocation: str  # the id of the entry
    what: str  # "certificate", "identity", "authority"
    spiffe_id: str
    serial: str  # hexadecimal, as the two below
    authority_key_id: str
    key: str  # SHA-256 of the authority's public key
    queued: str  # what becomes of messages that wait: "keep", "hold", "cancel"
    reason: str  # in the operator's words


class PrivacyActed(NamedTuple):
    """What is kept of one person is about to be exported or erased. Whose it is, is not on record."""

    at: int
    node: str
    by: str  # SPIFFE ID
    what: str  # "exported" or "erased"
    tenant: str  # "" for all
    messages: int  # found
    unfinished: int  # of them, not final
    inbound: int  # messages from handsets, found
    reason: str  # in the operator's words


class KeyDestroyed(NamedTuple):
    """A data key is about to be destroyed: nothing that it sealed can be opened any more, in backups either."""

    at: int
    node: str
    by: str  # the SPIFFE ID of who wanted it; "" for the node itself
    key_id: str  # hexadecimal
    tenant: str
    reason: str


Record: TypeAlias = (
    Decision
    | MessageAccepted
    | MessageStored
    | StateChanged
    | MessagesSending
    | InboundReceived
    | RouteDenied
    | Recovered
    | NodeStarted
    | NodeStopped
    | ConfigLoaded
    | KeyCreated
    | CertificateRenewed
    | OperatorActed
    | MessagesRouted
    | CancelAsked
    | CancelAnswered
    | AlertChanged
    | PoliciesReplaced
    | RevocationChanged
    | PrivacyActed
    | KeyDestroyed
)

KINDS: dict[type[Record], Kind] = {
    Decision: Kind.DECISION,
    MessageAccepted: Kind.MESSAGE_ACCEPTED,
    StateChanged: Kind.STATE_CHANGED,
    MessagesSending: Kind.MESSAGES_SENDING,
    InboundReceived: Kind.INBOUND_RECEIVED,
    RouteDenied: Kind.ROUTE_DENIED,
    Recovered: Kind.RECOVERED,
    NodeStarted: Kind.NODE_STARTED,
    NodeStopped: Kind.NODE_STOPPED,
    ConfigLoaded: Kind.CONFIG_LOADED,
    KeyCreated: Kind.KEY_CREATED,
    CertificateRenewed: Kind.CERTIFICATE_RENEWED,
    OperatorActed: Kind.OPERATOR_ACTED,
    MessagesRouted: Kind.MESSAGES_ROUTED,
    CancelAsked: Kind.CANCEL_ASKED,
    CancelAnswered: Kind.CANCEL_ANSWERED,
    AlertChanged: Kind.ALERT_CHANGED,
    PoliciesReplaced: Kind.POLICIES_REPLACED,
    RevocationChanged: Kind.REVOCATION_CHANGED,
    MessageStored: Kind.MESSAGE_STORED,
    PrivacyActed: Kind.PRIVACY_ACTED,
    KeyDestroyed: Kind.KEY_DESTROYED,
}
