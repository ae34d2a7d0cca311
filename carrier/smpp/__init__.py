"""SMPP as bytes in, events and bytes out: codec, session. No sockets and no clocks."""
