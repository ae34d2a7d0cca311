"""The command line: one module a command or group of commands, looked up by name through entry points."""
