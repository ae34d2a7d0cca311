"""The command line of the authority."""
