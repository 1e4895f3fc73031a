"""Faults on purpose: against real processes, and against cores under virtual time."""
