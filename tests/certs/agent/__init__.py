"""Tests of certs.agent."""
