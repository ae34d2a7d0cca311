"""The rows of the interop checklist, each played by the simulator over TLS."""
