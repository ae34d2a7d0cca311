"""The carrier link: SMPP, text coding, receipts, the link itself and a simulated carrier. Knows nothing of the gateway."""
