"""The probe, held against the simulator."""
