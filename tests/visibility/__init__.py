"""Tests of `visibility`, mirroring its modules."""
