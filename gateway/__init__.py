"""The gateway: the gRPC API, the durable store, and the pipeline that moves messages to the carriers."""
