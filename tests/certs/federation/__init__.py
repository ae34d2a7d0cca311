"""Tests of `certs.federation`."""
