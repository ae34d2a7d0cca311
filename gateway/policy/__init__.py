"""What may be done, and who says so: Cedar policies, their evaluation, and the cache of their decisions.

    loader      files → one validated set, or every problem with file and line
    statements  where each policy of a file begins and ends
    vocabulary  what policies can be asked about
    schema      the same as a Cedar schema
    inputs      which attributes of a request the policies can read
    requests    the typed attributes of a request
    engine      one question → one decision; the only module that evaluates
    cache       decisions by tenant, bounded
    judge       one set in force: engine, calendar, cache
    shadow      a candidate beside it, which decides nothing
    authorizer  what API and pipeline ask: canonical question, cache, engine

Nothing here knows gRPC, the store or SMPP. Nothing here permits anything by itself: what no policy permits is denied,
and so is what could not be evaluated.
"""
