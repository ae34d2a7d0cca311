"""Privacy: how long what is kept of messages is kept, and what one person may ask for.

    periods.py     how long, from the configuration; pure
    retention.py   the task that lets go of what is old enough

Nothing here knows gRPC or SQL.
"""
