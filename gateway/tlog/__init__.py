"""The transparency log over the audit: a Merkle tree with a leaf for each commit, in the forms of C2SP.

    merkle        leaf, node and root hashes; proofs of inclusion and of consistency, verified (RFC 6962 §2.1)
    tiles         where hashes and entries stand as files (C2SP tlog-tiles)
    tree          leaves are added at the right edge of a tree, which gives the tiles that change
    proofs        which tiles a proof is made of, and the proof
    entries       a commit of the audit → the entry that its leaf is made of
    notes         text with signatures (C2SP signed-note), Ed25519
    checkpoints   size and root of a tree as the text of a note (C2SP tlog-checkpoint)
    cosignatures  what a witness signs (C2SP tlog-cosignature, cosignature/v1)
    witnessing    the octets of a request to a witness, and of its answer (C2SP tlog-witness)

Nothing here knows a file, a socket, a clock or a database: octets in, octets out. All lengths are bounded before they
are read. Verification raises.
"""
