"""The audit: what was decided and what changed, without personal data, committed with what it describes.

    records      the typed records
    fields       how their fields become octets
    codec        a record → octets, one way only, and back
    hot          the same octets for what every message causes, without the table
    rendering    a record for people, and as JSON
    aggregation  of many equal decisions, which become records of their own and which are counted
    reserve      the room on the disk, and what may still use it
    recorder     what the API asks: record this decision, or refuse the call
    journal      what the node says of itself

Nothing here knows gRPC or SQL. The store writes the records of each commit as one row, in the same transaction
(`gateway.store.engine.auditing`). Audit is not logging: nothing here writes a log line in place of a record.
"""
