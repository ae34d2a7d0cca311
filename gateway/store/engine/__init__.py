"""What every engine does the same way: one writer's thread with group commits, and the steps of a message.

engine       Engine: the coroutines of the contract, in the event loop (`messages`, `receipts`, `operating`)
calls        what its parts ask of the engine
writer       the writer's thread and its group commit
transaction  what a transaction gathers: events, audit records, counters, interned names
accepting, claiming, settling, receiving, keeping, noting, inbound, closing, holding, purging
             the steps of a message, inside a transaction
reader       the readers' threads; `reading`, `awaiting`, `auditing` are what they look up
database     the port: what the threads ask of an engine's database
statements   the port: what the steps ask of it, as SQL of its dialect

An engine (`gateway.store.engine`, `gateway.store.postgres`) adds connections, a schema, the statements, and its errors
in our words. Nothing here knows a dialect, a file or a socket.
"""
