"""How much each caller may do: rates and bursts, kept in memory, bounded, and never open when in doubt.

    rate          a rate in exact whole numbers
    token_bucket  calls of an identity, octets of nothing: a level that fills again with time
    gcra          messages: one number for each key says everything
    table         a bounded table of such states; when it is full, what it does not know is refused
    sketch        the same for recipients, of whom there are more than a table could hold
    places        which calls may be open at a time, and whose
    calls         the cheap bucket of each identity, and that of each address with unknown certificates
    messages      caller, tenant and recipient of a message, together or not at all
    denials       which denials are told one by one, and which are counted

Pure but for what `denials` logs: time is an argument, in whole microseconds of a clock that never goes back. State is
of this node and of this run: a restart begins with full bursts, and two nodes give twice the rate.
"""
