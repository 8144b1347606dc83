"""Moved to stdp_run.replaying."""
from stdp_run.replaying import replay
