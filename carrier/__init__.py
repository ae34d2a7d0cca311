"""The carrier link: SMPP, text coding, receipts, links and a simulated carrier. Knows nothing of the gateway."""
