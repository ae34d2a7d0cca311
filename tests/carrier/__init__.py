"""Tests of carrier."""
