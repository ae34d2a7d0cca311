"""Tests of prices and caps, without a store."""
