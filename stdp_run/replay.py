"""Moved to stdp_run.replaying."""
