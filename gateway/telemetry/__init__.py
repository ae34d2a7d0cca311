"""What the node tells of itself: traces from the caller's span to the receipt, metrics, and the ids in its log.

    sampling, context   pure: which messages are traced, and the form in which a trace is kept beside its message
    tracing, journey    the spans; what is not sampled never gets there
    meters              plain numbers, counted on the hot path
    instruments         the same numbers as OpenTelemetry's instruments, read when somebody asks
    export              OTLP over TLS, out of the event loop's way
    telemetry           all of it as one part of the node

No number, text, code or key of anyone is in a span or a metric, and every label has a bounded set of values.
"""
