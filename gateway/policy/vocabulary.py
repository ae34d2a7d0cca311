"""What policies can be asked about: the entities, the context of each sort of question, and the groups of actions.

The one source of the Cedar schema (`gateway.policy.schema`), of what a set can read (`gateway.policy.inputs`) and of
the tables in docs/policy.md. The actions of calls come from the method table of the API, whose rows say their group.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gateway.policy.requests import ADMIN_GROUPS, PEER_GROUPS, SEND_ACTIONS, SEND_GROUP, USE_ROUTE


class Subject(enum.Enum):
    """What a question is about; the value names the type of its context in the schema."""

    CALL = "Call"
    SENDING = "Sending"
    ROUTING = "Routing"


_SUBJECT_DOCS = {
    Subject.CALL: "A call.",
    Subject.SENDING: "A message that is to be sent.",
    Subject.ROUTING: "A stored message that is to be handed to a carrier.",
}


class Attribute(NamedTuple):
    """One attribute of the context. One that is `optional` may be absent: write `context has name && ...`."""

    name: str
    type: str  # Cedar's
    subjects: frozenset[Subject]
    doc: str
    optional: bool = False


class Entity(NamedTuple):
    """One type of entity: what it lies in, and its attributes with their types."""

    name: str
    doc: str
    parents: tuple[str, ...] = ()
    attributes: Mapping[str, str] = {}


class Action(NamedTuple):
    """One action: its group ("" for none), and the types of what it is asked about."""

    name: str
    group: str
    principal: str
    resource: str
    subject: Subject


_ALL = frozenset(Subject)
_MESSAGES = frozenset({Subject.SENDING, Subject.ROUTING})
_SENDS = frozenset({Subject.SENDING})
_BEFORE = frozenset({Subject.CALL, Subject.SENDING})  # while its caller is there

ATTRIBUTES = (
    Attribute("weekday", "Long", _ALL, "1 (Monday) to 7, in `policy.timezone`"),
    Attribute("minute", "Long", _ALL, "of the day, 0 to 1439, in `policy.timezone`"),
    Attribute(
        "address", "ipaddr", _BEFORE, "the client's IP address; it may be unknown: `context has address && ...`", True
    ),
    Attribute(
        "sender", "String", _MESSAGES, "as the caller wrote it; for `UseRoute` as the carrier will be told it"
    ),
    Attribute("category", "String", _MESSAGES, '`"OTP"`, `"TRANSACTIONAL"`, `"PROMOTIONAL"`'),
    Attribute("country", "String", _MESSAGES, 'the recipient\'s: ISO 3166-1 alpha-2, `"ZZ"` when it is not known'),
    Attribute(
        "segments", "Long", _MESSAGES, "how many segments it takes, 1 to 255; not known of content that is sealed", True
    ),
    Attribute("sealed", "Bool", _MESSAGES, "whether the caller has sealed the content, so that only a link opens it"),
    Attribute("batch", "Long", _SENDS, "how many messages its request has, 1 to 1000, itself included"),
)  # fmt: skip

ENTITIES = (
    Entity("Tenant", "A tenant, as smsgw.yaml names it."),
    Entity(
        "Path",
        'A prefix of SPIFFE IDs, by whole segments: Path::"spiffe://example.org", Path::"spiffe://example.org/a" ...',
    ),
    Entity(
        "Caller",
        "Who asks. It lies in its tenant and in every prefix of its SPIFFE ID, itself included. `path` has its leading "
        "slash; `federated` are those of another trust domain than the node's.",
        ("Tenant", "Path"),
        {"tenant": "Tenant", "trust_domain": "String", "path": "String", "federated": "Bool"},
    ),
    Entity(
        "Admin",
        "Who operates the node: an identity that admin.spiffe_ids of smsgw.yaml covers. It lies in every prefix of its "
        "SPIFFE ID, and in no tenant.",
        ("Path",),
        {"trust_domain": "String", "path": "String", "federated": "Bool"},
    ),
    Entity(
        "Peer",
        "Another node of the site, which revocation.followers of smsgw.yaml names. It lies in every prefix of its "
        "SPIFFE ID, and in no tenant.",
        ("Path",),
        {"trust_domain": "String", "path": "String", "federated": "Bool"},
    ),
    Entity("Node", "This node."),
    Entity(
        "Message",
        "The message that is to be sent. It lies in its tenant.",
        ("Tenant",),
        {"tenant": "Tenant", "owner": "Caller"},
    ),
    Entity("Route", "A carrier, as smsgw.yaml names it."),
)


def attributes_of(subject: Subject) -> Iterator[Attribute]:
    """Yield the attributes of a context, in the order of the table."""
    return (attribute for attribute in ATTRIBUTES if subject in attribute.subjects)


def subject_doc(subject: Subject) -> str:
    """Return what a question is about, as a sentence."""
    return _SUBJECT_DOCS[subject]


def all_actions(calls: Mapping[str, str]) -> dict[str, str]:
    """Return every action that is asked about, with its group ("" for none): those of `calls`, sends, and the route."""
    return {**calls, **dict.fromkeys(SEND_ACTIONS.values(), SEND_GROUP), USE_ROUTE: ""}


def actions_of(calls: Mapping[str, str]) -> Iterator[Action]:
    """Yield every action with what it is asked about. `calls` maps each call's action to its group."""
    for name, group in all_actions(calls).items():
        if name == USE_ROUTE:
            yield Action(name, group, "Caller", "Route", Subject.ROUTING)
        elif group == SEND_GROUP:
            yield Action(name, group, "Caller", "Message", Subject.SENDING)
        elif group.startswith(ADMIN_GROUPS):
            yield Action(name, group, "Admin", "Node", Subject.CALL)
        elif group.startswith(PEER_GROUPS):
            yield Action(name, group, "Peer", "Node", Subject.CALL)
        else:
            yield Action(name, group, "Caller", "Tenant", Subject.CALL)


def groups_of(calls: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the groups, each with its actions, in the order of the method table."""
    groups: dict[str, list[str]] = {}
    for name, group in all_actions(calls).items():
        if group:
            groups.setdefault(group, []).append(name)
    return groups
