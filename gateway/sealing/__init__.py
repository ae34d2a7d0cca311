"""Sealing: what the store keeps of a message can be opened by this gateway alone.

    envelope.py   the format of a sealed field, and AES-256-GCM over it; pure
    data_keys.py  the life of data keys: made, wrapped, durable, used, dropped
    keyring.py    the port to wrapped data keys, which are kept outside the message database
    folder_keyring.py, keyring_lines.py       in a folder of the node, as lines of JSON
    postgres_keyring.py, keyring_schema.py    in a PostgreSQL database of their own
    openers.py    unwrapped keys, and for how long they are kept
    key_work.py, wiping.py    threads beside the event loop; keys overwritten in memory
    providers.py  the port to the key-encryption keys that wrap them, and keys in files
    rsa_, aws_, vault_, pkcs11_provider.py    other sorts of them; provider_set.py: several as one
    upkeep.py     the task that makes keys before they are needed
    box.py        the `gateway.payload.PayloadBox` over all of it

Nothing here knows messages, the store or the API.
"""
