"""The durable store: one contract (`contract`), what engines share (`engine`), and those that keep it (`sqlite`)."""
