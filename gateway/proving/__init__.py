"""What the log proves of one message: its records are found in the audit, and put together with their proofs.

    way       where the records of a message lead, and whether one is missing
    history   the commits that have them, found by the times that the message's row has
    receipts  commits, tiles and a checkpoint → smsgw.v1.MessageReceipt

The log itself is `gateway.tlog`'s; nothing here writes.
"""
