"""Privacy: how long what is kept of messages is kept, and what one person may ask for.

    periods.py     how long, from the configuration; pure
    retention.py   the task that lets go of what is old enough
    person.py      what is kept of one person: found, told, erased
    retiring.py    data keys under which something was erased, destroyed
    sweeping.py    data keys that nobody needs any more, destroyed
    rekeying.py    hashes of recipients, written anew under another index key

Nothing here knows gRPC or SQL.
"""
