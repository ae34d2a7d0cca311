"""Limits, pure: integers and properties."""
