"""The functions that rules and neuron groups may use, beside operators and comparisons.

They act on torch tensors of any shape. The event engine compiles the same names for numbers and vectors
(stdp_run/engines/event/arithmetic.py). Arithmetic in these functions is written once and runs on both engines.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor as Tensor
else:
    Tensor = Any  # a name for annotations; torch is imported when a run starts

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
    """Return max(base, 0) to the power of the number `exponent`, which is 0 or more."""
    return base.clamp(min=0) ** exponent


def maximum(values: Any, bound: Any) -> Any:
    """Return the larger of `values` and the number `bound`, elementwise."""
    return values.clamp(min=bound)


def minimum(values: Any, bound: Any) -> Any:
    """Return the smaller of `values` and the number `bound`, elementwise."""
    return values.clamp(max=bound)
