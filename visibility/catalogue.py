"""Every alert of smsgw: its name, how grave it is, its labels. docs/runbook.md has a section for each.

A name is never given to anything else, and never changes: rules, dashboards and people go by it.
"""

from __future__ import annotations

from visibility.alerts import AlertKind, Severity

PAGE, TICKET = Severity.PAGE, Severity.TICKET

# Carriers.
CARRIER_DOWN = AlertKind(
    name="carrier_down",
    severity=PAGE,
    summary="A carrier has no bind that is up: nothing goes by it.",
    labels=("carrier",),
    after_s=60.0,
)
BIND_DOWN = AlertKind(
    name="bind_down",
    severity=TICKET,
    summary="A bind of a carrier is down, and others of it are up.",
    labels=("carrier", "bind"),
    after_s=300.0,
)
CARRIER_FAILING = AlertKind(
    name="carrier_failing",
    severity=PAGE,
    summary="A carrier's circuit breaker has opened: it answers with errors, or not at all.",
    labels=("carrier",),
)
RECEIPTS_UNMATCHED = AlertKind(
    name="receipts_unmatched",
    severity=TICKET,
    summary="Many receipts belong to no message: a carrier writes its ids in another way than its settings say.",
)
MESSAGES_LATE = AlertKind(
    name="messages_late",
    severity=PAGE,
    summary="Messages that are due have been waiting for too long.",
    labels=("category",),
)

# Usage.
USAGE_CAP_NEAR = AlertKind(
    name="usage_cap_near",
    severity=TICKET,
    summary="A tenant has used most of what a cap allows it in this day or month.",
    labels=("tenant", "cap"),
)
USAGE_CAP_REACHED = AlertKind(
    name="usage_cap_reached",
    severity=PAGE,
    summary="A tenant has used all that a cap allows it: its messages are refused until the next day or month.",
    labels=("tenant", "cap"),
)

# Store, audit, keys.
STORE_FAILING = AlertKind(
    name="store_failing",
    severity=PAGE,
    summary="The database cannot write: no message is accepted and no outcome recorded.",
)
NODE_LOST = AlertKind(
    name="node_lost",
    severity=PAGE,
    summary="Another node on this database has not renewed its lease: it is fenced, and its messages have moved on.",
    lasts_s=900.0,
)
NODE_LEASE_LOST = AlertKind(
    name="node_lease_lost",
    severity=TICKET,
    summary="This node was away for longer than its lease: others have taken its messages, and it has begun anew.",
    lasts_s=3600.0,
)
STORED_DATA_CORRUPT = AlertKind(
    name="stored_data_corrupt",
    severity=PAGE,
    summary="Something stored cannot be read: the database is damaged, or a key is missing.",
    security=True,
    lasts_s=3600.0,
)
DISK_NEARLY_FULL = AlertKind(
    name="disk_nearly_full",
    severity=PAGE,
    summary="The disk of the data directory is nearly full.",
)
AUDIT_FAILING = AlertKind(
    name="audit_failing",
    severity=PAGE,
    summary="The audit cannot be written: calls are refused.",
    labels=("what",),
    security=True,
)
AUDIT_DISK_LOW = AlertKind(
    name="audit_disk_low",
    severity=PAGE,
    summary="The audit's disk has little room: denials are only counted, or nothing is accepted any more.",
    labels=("what",),
    security=True,
)
AUDIT_LOG_BROKEN = AlertKind(
    name="audit_log_broken",
    severity=PAGE,
    summary="Audit, log and signed checkpoints contradict each other: something was changed, or is gone.",
    security=True,
)
AUDIT_ALTERED = AlertKind(
    name="audit_altered",
    severity=PAGE,
    summary="The walk through the whole log has found something of audit or log that is not what was signed.",
    security=True,
)
AUDIT_LOG_BEHIND = AlertKind(
    name="audit_log_behind",
    severity=PAGE,
    summary="The log takes up no commits of the audit: they are written, and not proven yet.",
    after_s=10.0,
)
AUDIT_NOT_ARCHIVED = AlertKind(
    name="audit_not_archived",
    severity=PAGE,
    summary="Checkpoints do not get to where they are kept: what is changed now could be hidden from there.",
    labels=("archive",),
    security=True,
    after_s=30.0,
)
AUDIT_NOT_WITNESSED = AlertKind(
    name="audit_not_witnessed",
    severity=TICKET,
    summary="Fewer witnesses cosign checkpoints than are asked for: the newest are not published.",
    after_s=30.0,
)
KEYS_FAILING = AlertKind(
    name="keys_failing",
    severity=PAGE,
    summary="Data keys can be neither made nor opened: the key-encryption key, or the folder of wrapped keys, is away.",
    labels=("what",),
    security=True,
)

RETENTION_LATE = AlertKind(
    name="retention_late",
    severity=TICKET,
    summary="What is to be let go of by the periods of retention is still kept, hours later.",
)

# Identity and policy.
SVID_EXPIRING = AlertKind(
    name="svid_expiring",
    severity=PAGE,
    summary="Less than a third of the life of this process's own SVID is left, and no renewal has come.",
)
SVID_EXPIRED = AlertKind(
    name="svid_expired",
    severity=PAGE,
    summary="The SVID of this process has expired: nobody who verifies it connects.",
    security=True,
)
IDENTITY_SOURCE_FAILING = AlertKind(
    name="identity_source_failing",
    severity=TICKET,
    summary="The Workload API gives nothing that can be used: the SVID and the bundles stay as they are.",
    after_s=60.0,
)
CERTIFICATES_UNREADABLE = AlertKind(
    name="certificates_unreadable",
    severity=PAGE,
    summary="Renewed certificates or bundles cannot be used: the old ones are in force for as long as they last.",
    labels=("what",),
)
FEDERATION_UNTRUSTED = AlertKind(
    name="federation_untrusted",
    severity=PAGE,
    summary="Nobody of another trust domain is believed: its bundle has not been had yet, or has become too old.",
    labels=("trust_domain",),
    security=True,
    after_s=30.0,
)
FEDERATION_FAILING = AlertKind(
    name="federation_failing",
    severity=TICKET,
    summary="The bundle of another trust domain cannot be fetched: the one that is held counts until it is too old.",
    labels=("trust_domain",),
    after_s=600.0,
)
FEDERATION_ODD = AlertKind(
    name="federation_odd",
    severity=TICKET,
    summary="The bundle endpoint of another trust domain served what it should not, or revoked all its authorities.",
    labels=("trust_domain",),
    security=True,
    lasts_s=86_400.0,
)
DENY_LIST_UNREADABLE = AlertKind(
    name="deny_list_unreadable",
    severity=PAGE,
    summary="The deny list cannot be read: the list in force stays, and revocations since then have no effect.",
    security=True,
)
BUNDLE_EXPIRING = AlertKind(
    name="bundle_expiring",
    severity=TICKET,
    summary="The last authority of a trust bundle nears its end: nobody of that trust domain gets in after it.",
    labels=("trust_domain",),
)
SEGMENTS_DIFFER = AlertKind(
    name="segments_differ",
    severity=TICKET,
    summary="A node that only accepts counts texts in another way than this node's carriers write them.",
    lasts_s=600.0,
)
PAYLOAD_KEYS_ENDING = AlertKind(
    name="payload_keys_ending",
    severity=TICKET,
    summary="The last payload key nears its end: callers cannot seal content after it.",
)
SEALED_CONTENT_MISUSED = AlertKind(
    name="sealed_content_misused",
    severity=TICKET,
    summary="Sealed content was brought for another recipient, tenant or key than it was sealed for: somebody tried.",
    labels=("tenant",),
    security=True,
    lasts_s=600.0,
)
HANDSHAKES_REFUSED = AlertKind(
    name="handshakes_refused",
    severity=TICKET,
    summary="At least ten TLS handshakes within a minute were refused for the same reason.",
    labels=("reason",),
    security=True,
    lasts_s=600.0,
)
CALLS_REFUSED = AlertKind(
    name="calls_refused",
    severity=TICKET,
    summary="At least ten calls within a minute were refused for the same reason: of who calls, or of what he may do.",
    labels=("reason",),
    security=True,
    lasts_s=600.0,
)
DENY_LIST_STALE = AlertKind(
    name="deny_list_stale",
    severity=PAGE,
    summary="The deny list has not been refreshed in time: the node refuses all calls until it is.",
    security=True,
)
POLICY_FAILING = AlertKind(
    name="policy_failing",
    severity=PAGE,
    summary="Policies could not be evaluated: what they were asked about has been denied.",
    security=True,
    lasts_s=600.0,
)
POLICIES_REFUSED = AlertKind(
    name="policies_refused",
    severity=PAGE,
    summary="A changed set of policies has a fault and was refused: the old one decides, whatever was to be forbidden.",
    security=True,
)

# The node itself.
CONFIGURATION_REFUSED = AlertKind(
    name="configuration_refused",
    severity=TICKET,
    summary="A changed configuration has been refused as a whole: the one in force is another than the file says.",
)
UNEXPECTED_ERROR = AlertKind(
    name="unexpected_error",
    severity=TICKET,
    summary="Something failed that should not: a caller has been told of an incident.",
    lasts_s=900.0,
)
TELEMETRY_NOT_EXPORTED = AlertKind(
    name="telemetry_not_exported",
    severity=TICKET,
    summary="The collector does not take traces or metrics: they are lost, messages are not.",
    labels=("signal",),
    after_s=120.0,
)

# The authority.
NO_AUTHORITY_ISSUES = AlertKind(
    name="no_authority_issues",
    severity=PAGE,
    summary="No intermediate is active: nothing is issued and nothing renewed.",
)
NO_STANDBY = AlertKind(
    name="no_standby",
    severity=TICKET,
    summary="No standby is prepared: after a compromise of the active intermediate nothing could be issued.",
    after_s=600.0,
)
AUTHORITY_EXPIRING = AlertKind(
    name="authority_expiring",
    severity=TICKET,
    summary="The active intermediate has less than a month left, or a root less than a year.",
    labels=("kind",),
)
CRL_STALE = AlertKind(
    name="crl_stale",
    severity=PAGE,
    summary="A revocation list is out of date: whoever demands a current one refuses everybody below that authority.",
    labels=("authority",),
)
LEDGER_FAILING = AlertKind(
    name="ledger_failing",
    severity=PAGE,
    summary="The authority's record cannot be used: nothing is issued, since nothing could be put on record.",
)
RENEWALS_LATE = AlertKind(
    name="renewals_late",
    severity=TICKET,
    summary="Identities have less than a quarter of their certificate's life left, and have not renewed it.",
    after_s=60.0,
)
SVIDS_NOT_ISSUED = AlertKind(
    name="svids_not_issued",
    severity=PAGE,
    summary="SVIDs that are to be kept fresh in files could not be issued or written.",
)
ENTRIES_REFUSED = AlertKind(
    name="entries_refused",
    severity=TICKET,
    summary="The file of registered nodes and workloads cannot be used: the one before it counts.",
)
AUTHORITY_SERVICE_FAILING = AlertKind(
    name="authority_service_failing",
    severity=TICKET,
    summary="A service of the authority could not take up what changed: it goes on with what it has.",
    labels=("what",),
    lasts_s=600.0,
)

# The agent on a host of workloads.
AUTHORITY_AWAY = AlertKind(
    name="authority_away",
    severity=PAGE,
    summary="The agent does not reach the authority, or is refused by it: what it holds is served until it ends.",
    after_s=60.0,
)
IDENTITIES_ENDING = AlertKind(
    name="identities_ending",
    severity=PAGE,
    summary="SVIDs that the agent serves have less than a third of their life left, and no renewal has come.",
)

# What a node, `smsgw serve`, raises.
NODE = (
    USAGE_CAP_NEAR,
    USAGE_CAP_REACHED,
    CARRIER_DOWN,
    BIND_DOWN,
    CARRIER_FAILING,
    RECEIPTS_UNMATCHED,
    MESSAGES_LATE,
    SEGMENTS_DIFFER,
    PAYLOAD_KEYS_ENDING,
    SEALED_CONTENT_MISUSED,
    STORE_FAILING,
    NODE_LOST,
    NODE_LEASE_LOST,
    STORED_DATA_CORRUPT,
    DISK_NEARLY_FULL,
    AUDIT_FAILING,
    AUDIT_DISK_LOW,
    AUDIT_LOG_BROKEN,
    AUDIT_ALTERED,
    AUDIT_LOG_BEHIND,
    AUDIT_NOT_ARCHIVED,
    AUDIT_NOT_WITNESSED,
    KEYS_FAILING,
    RETENTION_LATE,
    SVID_EXPIRING,
    SVID_EXPIRED,
    IDENTITY_SOURCE_FAILING,
    CERTIFICATES_UNREADABLE,
    FEDERATION_UNTRUSTED,
    FEDERATION_FAILING,
    FEDERATION_ODD,
    DENY_LIST_UNREADABLE,
    BUNDLE_EXPIRING,
    HANDSHAKES_REFUSED,
    CALLS_REFUSED,
    DENY_LIST_STALE,
    POLICY_FAILING,
    POLICIES_REFUSED,
    CONFIGURATION_REFUSED,
    UNEXPECTED_ERROR,
    TELEMETRY_NOT_EXPORTED,
)

# What the authority, `smsgw ca serve`, raises.
AUTHORITY = (
    NO_AUTHORITY_ISSUES,
    NO_STANDBY,
    AUTHORITY_EXPIRING,
    CRL_STALE,
    LEDGER_FAILING,
    RENEWALS_LATE,
    SVIDS_NOT_ISSUED,
    ENTRIES_REFUSED,
    AUTHORITY_SERVICE_FAILING,
    FEDERATION_UNTRUSTED,
    FEDERATION_FAILING,
    FEDERATION_ODD,
    HANDSHAKES_REFUSED,
    CALLS_REFUSED,
)

# What an agent, `smsgw agent`, raises.
AGENT = (AUTHORITY_AWAY, IDENTITIES_ENDING)

ALERTS = tuple(dict.fromkeys((*NODE, *AUTHORITY, *AGENT)))
