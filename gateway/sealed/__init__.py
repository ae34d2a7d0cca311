"""Content that the caller has sealed: a JWE (RFC 7516) to the node's payload key, opened at the carrier link only.

`compact` reads the protected header, `binding` holds it against the message that brings it, `keys` has the payload
keys, `opening` opens, `budget` keeps one tenant's RSA from taking everybody's time. All of it is sans-IO but
`key_files`. What the library `joserfc` may do is said in `jose`, and in no other module.
docs/adr/0038-content-sealed-by-the-caller.md has the reasons.
"""
