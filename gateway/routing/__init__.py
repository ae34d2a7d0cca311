"""Which carrier a message goes by, and what that depends on: routes, hours, circuit breakers.

Decisions only: no clock, no store, no link, no asyncio. `gateway.pipeline` acts on them. Nothing here has errors of its
own: what is wrong with routes is found where the configuration is read.
"""
