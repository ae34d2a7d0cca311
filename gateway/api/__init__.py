"""The gRPC side: identity, interceptors, validation, servicers, and the one place that makes gRPC statuses."""
