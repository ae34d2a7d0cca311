"""Workload identity: SPIFFE ids, X.509-SVIDs, bundles, verification, and (in ca) the part that signs."""
