"""The command line: one module a command or group of commands, looked up by name through entry points."""

import os

# gRPC's C core writes lines of its own to standard error, past every logger and in no format of ours: a stranger's
# failed handshake would be among them. Errors still reach the callers of its API. It reads this when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
