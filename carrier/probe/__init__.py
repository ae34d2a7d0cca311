"""Finds out what a carrier does: binds to its test account, sends a few messages, and proposes a profile.

observations   what was seen, as it was seen
conclusions    what follows from it, and how sure that is: pure
connection     one bind, by the session of the links
prober         what is tried, in which order, at which cost
report         the proposed profile as YAML
"""
