"""The authority's gRPC service, and the only part of certs beside `certs.agent` that knows the generated stubs."""
