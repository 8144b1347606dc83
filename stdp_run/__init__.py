"""Unsupervised learning of handwritten digits by spike-timing-dependent plasticity (STDP): see README.md."""

import importlib


def __getattr__(name: str):
    """Import `load`, `replay`, and the lists `rules` and `neurons`, when they are first used: torch takes seconds."""
    if name == "load":
        return importlib.import_module("stdp_run.inference.load").load
    if name == "replay":
        return importlib.import_module("stdp_run.engines.replay").replay
    if name == "load":
        return importlib.import_module("stdp_run.inference.load").load
    if name in ("rules", "neurons"):
        return importlib.import_module(f"stdp_run.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
