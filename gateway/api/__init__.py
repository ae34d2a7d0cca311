"""The gRPC side: identity, guards, validation, servicers, and the one place that makes gRPC statuses."""
