"""Sealing: what the store keeps of a message can be opened by this gateway alone.

    envelope.py   the format of a sealed field, and AES-256-GCM over it; pure
    data_keys.py  the life of data keys: made, wrapped, durable, used, dropped
    keyring.py    wrapped data keys on disk, outside the database
    providers.py  the key-encryption keys that wrap them
    upkeep.py     the task that makes keys before they are needed
    box.py        the `gateway.payload.PayloadBox` over all of it

Nothing here knows messages, the store or the API.
"""
