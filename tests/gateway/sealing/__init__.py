"""Tests of gateway.sealing, and the boxes that other tests seal with."""
