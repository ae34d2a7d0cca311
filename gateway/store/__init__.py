"""The durable store: one contract (`contract`), and an engine that keeps it (`sqlite`)."""
