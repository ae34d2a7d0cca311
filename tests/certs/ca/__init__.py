"""Tests of certs.ca."""
