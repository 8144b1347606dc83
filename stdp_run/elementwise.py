"""The few functions, beyond + - * >> and comparisons, from which rules and neuron groups are built.

They act on torch tensors of any shape; the event engine compiles the same names for single numbers and vectors
(stdp_run/engines/event/arithmetic.py). So arithmetic that uses nothing else is written once and runs on both engines.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor as Tensor
else:
    Tensor = Any  # only a name for annotations: torch is imported when a run starts

Tensors = dict[str, Tensor]  # by name


def where(condition: Any, chosen: Any, otherwise: Any) -> Any:
    """Return `chosen` where `condition` holds, else `otherwise`."""
    import torch

    return torch.where(condition, chosen, otherwise)


def exp(exponent: Any) -> Any:
    """Return e to the power of `exponent`."""
    import torch

    return torch.exp(exponent)


def power(base: Any, exponent: Any) -> Any:
    """Return `base`, or 0 where it is below 0, to the power of the number `exponent`, which is 0 or more."""
    return base.clamp(min=0) ** exponent


def maximum(values: Any, bound: Any) -> Any:
    """Return `values`, raised to the number `bound` where they are below it."""
    return values.clamp(min=bound)


def minimum(values: Any, bound: Any) -> Any:
    """Return `values`, lowered to the number `bound` where they are above it."""
    return values.clamp(max=bound)
