"""Tests of the stores: the contract's conformance suite, run on every engine, and what each engine has of its own."""
