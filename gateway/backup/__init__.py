"""Copies of a node's SQLite database, of its wrapped data keys, and what becomes of both on another host.

    manifest.py   what a backup says of itself; pure
    files.py      folders and files that are whole, private and on disk
    taking.py     a backup of the database while the node runs
    keys.py       a copy of the wrapped data keys, kept apart
    restoring.py  a data folder made of them; what waited is held back
    errors.py     what can go wrong

Nothing here knows the API, carriers or any key that opens something.
"""
