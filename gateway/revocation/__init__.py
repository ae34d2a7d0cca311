"""Revoked identities: the signed deny list, who publishes it, who follows it, and the guard on every call and message.

    errors      what can go wrong with a list, its file or its key
    entries     the list: what an entry names, and when it ends
    codec       its signed form: octets in, entries out, or a refusal (sans-IO)
    taking      which signed list may follow which: rollback, replay, freshness (sans-IO)
    keys        the signing key, and the public keys that nodes pin
    files       the list on disk, under a lock that `smsgw revoke --offline` takes too
    calls       the calls under way, and who of them is refused
    publishing  the node that holds the key
    following   the nodes that do not: push, and polling as a backstop
    queued      what becomes of messages that a revoked identity had sent

One node of a site signs the list, the others follow it; a node that cannot know who is revoked refuses. The network is
`gateway.api.revocation_service` and `following`; nothing else here knows gRPC.
"""
