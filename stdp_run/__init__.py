"""Unsupervised learning of handwritten digits by spike-timing-dependent plasticity (STDP).

Public names: `run` (an experiment), `Result` (the result of one), `load` (a trained network), `STDPClassifier` (a
network for scikit-learn), `replay` (a learning rule without a network), the lists `rules` and `neurons`, `datasets`,
and `__version__`.
"""

import importlib.metadata
from typing import Any

_PUBLIC = {
    "run": "stdp_run.cli.python",
    "Result": "stdp_run.commands.run_result",
    "load": "stdp_run.inference.load",
    "replay": "stdp_run.engines.replay",
    "STDPClassifier": "stdp_run.estimator.classifier",
}
_MODULES = ("rules", "neurons", "datasets")


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, since importing torch takes seconds."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    if name == "__version__":
        return importlib.metadata.version("stdp-run")
    if name in _MODULES:
        return importlib.import_module(f"stdp_run.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(("__version__", *_PUBLIC, *_MODULES))
