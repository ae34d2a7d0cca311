"""The sequencer: it takes the commits of the audit into the transparency log, signs, and publishes.

    growth       commits → leaves, tiles and bundles of entries; no input or output
    notary       signs checkpoints, and none that does not follow from those before
    keys         the signing key in its file
    tiles        tiles from the store, for proofs
    files        the log as a folder of static files
    publishing   where a checkpoint goes: witnesses, archives, folder
    archiving    brings checkpoints to an archive until they are there; archive_* are the archives
    witnesses    have checkpoints cosigned
    http_post, lines_out    the connections of both
    consistency  whether audit, log and checkpoints agree, at a start
    pruning      deletes old records, whose entries stay
    sequencer    the task: lease, append, sign, publish
    assembly     built from the configuration

One node of a deployment is the sequencer at a time (`gateway.store.sequencing`). The forms are those of `gateway.tlog`.
"""
