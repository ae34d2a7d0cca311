"""A scriptable SMSC over TLS that ships with the product, and the fast sink of the benchmarks."""
