"""Sealing: what the store keeps of a message can be opened by this gateway alone.

    envelope.py   the format of a sealed field, and AES-256-GCM over it; pure
    data_keys.py  the life of data keys: made, wrapped, durable, used, dropped
    keyring.py    the port to wrapped data keys, which are kept outside the message database
    folder_keyring.py, keyring_lines.py       in a folder of the node, as lines of JSON
    postgres_keyring.py, keyring_schema.py    in a PostgreSQL database of their own
    providers.py  the key-encryption keys that wrap them
    upkeep.py     the task that makes keys before they are needed
    box.py        the `gateway.payload.PayloadBox` over all of it

Nothing here knows messages, the store or the API.
"""
