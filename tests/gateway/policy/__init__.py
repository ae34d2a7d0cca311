"""Tests of the policies: loading, deciding, remembering, asking."""
