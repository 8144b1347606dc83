"""The contract between the event engine and the compiled implementation of a learning rule.

All functions but `allocate` and `persistent` are plain functions that the engine compiles; `Bound("rule")` gives them
the rule's own elementwise functions. They share these arguments:

    p        the rule's constants, a named tuple in the types of the kernel
    memory   what `allocate` returned, a named tuple of arrays
    weight   [I, E] the weights, input-major; E counts the padding of rows to whole vectors
    image    Image (presentation.py)
    step     EventStep (presentation.py)
    active   ActiveNeurons (active.py), in the order in which they became active
    slot     the index of a neuron among the active ones; `at` is the first slot of a block
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stdp_run.engines.event.active import sum_weights, take_weights


def nothing(*arguments):
    """Do nothing."""


@dataclass(frozen=True)
class Implementation:
    """The compiled implementation of a rule.

    `kernel` is "interval" if the weights of a neuron change only while it is active, and by a factor at most before
    (interval.py), else "every_step" (every_step.py).
    """

    allocate: Callable  # (rule class, p, weight, n_exc, longest_delay) -> memory; None: every image starts afresh
    learn: Callable  # (p, memory, weight, theta [E], step, active, fired): `fired` lists the slots that spike, int32
    kernel: str = "every_step"
    start: Callable = nothing  # (p, memory, weight, image): at the start of an image
    # (p, memory, image, i) -> whether neuron i is active from the first step on
    is_first_active: Callable = lambda p, memory, image, i: False
    join: Callable = nothing  # (p, memory, weight, image, active, slot): a neuron has become active
    # (memory, active, step, at) -> the currents of a block of neurons; for the interval kernel
    block_currents: Callable = lambda memory, active, step, at: sum_weights(active, step.spikes, at)
    correct_currents: Callable = nothing  # (memory, active, step, current [E]), from stored weights; for every_step
    rest: Callable = nothing  # (p, memory, active, step, n): n steps without any spike, of which `step` is the first
    finish: Callable = nothing  # (p, memory, weight, image, active): after which the stored weights are the true ones
    persistent: Callable = (
        lambda memory, n_exc: {}
    )  # (memory, n_exc) -> by name the arrays that last from image to image
    # (memory, weight, active, j, i) -> the weight from input j to neuron i in a replay, where all neurons are active
    true_weight: Callable = lambda memory, weight, active, j, i: weight[j, i]
    whole_vectors: bool = False  # blocks of active neurons are whole vectors; else they have BLOCK slots
    has_delays: bool = False  # whether it runs with delays and with a state that runs on from image to image

    @classmethod
    def of(cls, *functions: Callable, **more: Any) -> "Implementation":
        """Return an implementation by functions that have the names of its fields."""
        return cls(**more, **{each.__name__: each for each in functions})  # type: ignore[arg-type]

    def functions(self) -> dict[str, Callable]:
        """Return the functions that become a part of kernels."""
        of_python = "allocate", "persistent"
        return {name: each for name, each in vars(self).items() if callable(each) and name not in of_python}


# With learning off. In the interval kernel active neurons have copies of their weights all the same.
NOTHING_LEARNS = {
    "interval": Implementation(
        nothing,
        nothing,
        "interval",
        join=lambda p, memory, weight, image, active, slot: take_weights(active, weight, image.active_inputs, slot),
    ),
    "every_step": Implementation(nothing, nothing),
}
