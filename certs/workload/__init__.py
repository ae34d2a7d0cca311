"""The SPIFFE Workload API from a workload's side: an SVID and bundles that are followed while they change."""
