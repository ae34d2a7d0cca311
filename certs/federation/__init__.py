"""Federation: the bundles of other trust domains, had from their endpoints (SPIFFE Federation), and our own served."""
