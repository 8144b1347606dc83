"""The contract between the event engine and the compiled implementation of a learning rule.

All functions but `allocate` and `persistent` are plain functions that the engine compiles; `Bound("rule")` gives them
the rule's elementwise functions. They share these arguments::

    p        the rule's constants, a named tuple in the types of the kernel
    memory   the result of `allocate`, a named tuple of arrays
    weight   [I, E] the weights, input-major; E counts the padding of rows to whole vectors
    image    Image (presentation.py)
    step     EventStep (presentation.py)
    active   ActiveNeurons (active.py), in order of activation
    slot     the index of a neuron among the active ones; `at` is the first slot of a block
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stdp_run.engines.event.active import sum_weights, take_weights, weight_index


def nothing(*arguments):
    """Do nothing."""


def join(p, memory, weight, image, active, slot):
    """Copy the weights of a newly active neuron."""
    take_weights(active, weight, image.active_inputs, slot)


def true_weight(memory, weight, active, j, i):
    """Return the true weight from input j to neuron i by its `scale`, provided that all neurons are active."""
    return active.weights[weight_index(active, i, j)] * memory.scale[i]


@dataclass(frozen=True)
class Implementation:
    """The compiled implementation of a rule.

    `kernel` is "interval" (interval.py) if the weights of a neuron change only while it is active, or at the start of
    an image. Otherwise it is "every_step" (every_step.py).
    """

    allocate: Callable  # (rule class, p, weight, n_exc, longest_delay) -> memory; delay None: no network that runs on
    learn: Callable  # (p, memory, weight, theta [E], step, active, fired): `fired` lists the slots that spike, int32
    kernel: str = "every_step"
    start: Callable = nothing  # (p, memory, weight, image): at the start of an image
    # (p, memory, image, i) -> whether neuron i is active from the first step on
    is_first_active: Callable = lambda p, memory, image, i: False
    join: Callable = nothing  # (p, memory, weight, image, active, slot): a neuron becomes active
    # (memory, active, step, at) -> the currents of a block of neurons; for the interval kernel
    block_currents: Callable = lambda memory, active, step, at: sum_weights(active, step.spikes, at)
    correct_currents: Callable = nothing  # (memory, active, step, current [E]): correct the sums; for every_step
    rest: Callable = nothing  # (p, memory, active, step, n): advance by n steps without spikes, beginning with `step`
    finish: Callable = nothing  # (p, memory, weight, image, active): write the true weights to `weight`
    persistent: Callable = lambda memory, n_exc: {}  # (memory, n_exc) -> persistent arrays by name
    # (memory, weight, active, j, i) -> weight from input j to neuron i; in a replay, where all neurons are active
    true_weight: Callable = lambda memory, weight, active, j, i: weight[j, i]
    whole_vectors: bool = False  # blocks of active neurons are whole vectors; else they have BLOCK slots
    has_delays: bool = False  # whether it supports delays and networks that run on

    @classmethod
    def of(cls, *functions: Callable, **more: Any) -> "Implementation":
        """Return an implementation from functions that are named like its fields."""
        return cls(**more, **{each.__name__: each for each in functions})  # type: ignore[arg-type]

    def functions(self) -> dict[str, Callable]:
        """Return the functions that kernels call, by name."""
        of_python = "allocate", "persistent"
        return {name: each for name, each in vars(self).items() if callable(each) and name not in of_python}


# With learning off. The interval kernel needs copies of the weights of active neurons all the same.
NOTHING_LEARNS = {
    "interval": Implementation(nothing, nothing, "interval", join=join),
    "every_step": Implementation(nothing, nothing),
}
