"""The agent on a workload's host: gets SVIDs from the authority, and hands them out by the SPIFFE Workload API."""
