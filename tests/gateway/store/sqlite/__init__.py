"""Tests of the embedded engine alone: group commit, durability, faults, migrations, query plans."""
