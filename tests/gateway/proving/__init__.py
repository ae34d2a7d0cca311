"""Tests of gateway.proving."""
