"""Tests of certs.service."""
