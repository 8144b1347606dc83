"""What learning in a network of conductances with delays works with (stdp_run.engines.event.plasticity.delayed)."""

from typing import NamedTuple

import numpy as np

from stdp_run.engines.event.conductance import Cells, make_cells
from stdp_run.engines.event.delayed_input import Delays
from stdp_run.engines.event.vectors import VECTOR_BYTES, zeros_for_vectors
from stdp_run.network import Model
from stdp_run.rules.spike import LAST_STEP, NEVER, OCCASIONS


class DelayedMemory(NamedTuple):
    """What learning works with: E neurons and I inputs in whole vectors, delays of up to D steps, M >= D + 1 slots."""

    cells: Cells
    delays: Delays
    x: np.ndarray  # [(D + 1) * I] presynaptic traces of the latest steps; between images the latest first
    x_turned: np.ndarray  # the same, to turn them
    y: np.ndarray  # [E] postsynaptic trace
    y2: np.ndarray  # [E] second postsynaptic trace
    y2_seen: np.ndarray  # [E] the same before this step's spikes
    pre: np.ndarray  # [I] 1 where that input spikes in this step
    post: np.ndarray  # [E] 1 where that neuron spikes in this step and learns
    x_seen: np.ndarray  # [I] traces as a neuron that fires sees them
    pre_seen: np.ndarray  # [I] 1 where a spike arrives at it
    rows: np.ndarray  # [E * I] the weights by neuron
    off_norm: np.ndarray  # [E] uint8, 1 where the row may have to be scaled when the norm is next due
    active: np.ndarray  # [E] int32 the active neurons, by place
    place_of: np.ndarray  # [E] int32 their places, else -1
    n_active: np.ndarray  # [1]
    changed: np.ndarray  # [E] uint8, by place, 1 where the row has to be written back
    pending: np.ndarray  # [E * M * I] uint32, by place and slot, the inputs whose spikes are on their way
    n_pending: np.ndarray  # [E * M] int32
    n_slots: int  # M, a power of 2
    n_inputs: int  # without padding
    normalise: int  # NEVER, LAST_STEP, EVERY_STEP or BEFORE_PRESENTATION
    traces_of_image: bool  # the presynaptic traces start afresh with every image
    negligible: float  # a change of a weight that is left out
    tolerance: float  # how far from its norm, relatively, a row still counts as normalised: rounding


class InferenceMemory(NamedTuple):
    """What presenting images works with where nothing learns."""

    cells: Cells
    delays: Delays


def allocate(model: Model, weight: np.ndarray, delays: Delays) -> DelayedMemory:
    """Return the memory for `weight[I, E]`; what runs on is filled in by the engine."""
    dtype, (n_inputs, n_columns) = weight.dtype, weight.shape
    lanes = VECTOR_BYTES // dtype.itemsize
    width = -(-n_inputs // lanes) * lanes
    p, n_steps = model.rule_parameters, delays.longest + 1
    normalise = normalisation(model)
    if normalise in (NEVER, LAST_STEP):
        np.minimum(weight, p.w_max, out=weight)  # as the reference does at the first step
    rows = zeros_for_vectors((n_columns, width), dtype)
    rows[:, :n_inputs] = weight.T
    off_norm = np.zeros(n_columns, np.uint8)
    if normalise != NEVER:
        off_norm[: model.n_exc] = 1  # looked at when the norm is first due
    x, x_turned = (zeros_for_vectors(n_steps * width, dtype) for _ in range(2))
    y, y2, y2_seen, post = (zeros_for_vectors(n_columns, dtype) for _ in range(4))
    pre, x_seen, pre_seen = (zeros_for_vectors(width, dtype) for _ in range(3))
    n_slots = 1 << delays.longest.bit_length()
    return DelayedMemory(
        cells=make_cells(model, n_columns),
        delays=delays,
        x=x,
        x_turned=x_turned,
        y=y,
        y2=y2,
        y2_seen=y2_seen,
        pre=pre,
        post=post,
        x_seen=x_seen,
        pre_seen=pre_seen,
        rows=rows.reshape(-1),
        off_norm=off_norm,
        active=np.zeros(n_columns, np.int32),
        place_of=np.full(n_columns, -1, np.int32),
        n_active=np.zeros(1, np.int64),
        changed=np.zeros(n_columns, np.uint8),
        pending=np.zeros(n_columns * n_slots * n_inputs, np.uint32),
        n_pending=np.zeros(n_columns * n_slots, np.int32),
        n_slots=n_slots,
        n_inputs=n_inputs,
        normalise=normalise,
        traces_of_image="x" in model.rule.traces_of_image,
        negligible=1e-9 if dtype == np.float32 else 1e-16,
        tolerance=1e-5 if dtype == np.float32 else 1e-13,
    )


def normalisation(model: Model) -> int:
    """Return when a rule brings rows to their norm."""
    stated = getattr(model.rule_parameters, "normalise", None)
    if stated is None:
        stated = OCCASIONS.index(model.rule.normalise)
    return stated


def running(memory: DelayedMemory, n_exc: int, n_inputs: int) -> dict[str, np.ndarray]:
    """Return the arrays that run on from image to image, by name, without padding."""
    cells = {name: array[:n_exc] for name, array in memory.cells._asdict().items()}
    x = memory.x.reshape(memory.delays.longest + 1, -1)[:, :n_inputs]
    return {**cells, "x": x if memory.delays.longest else x[0], "y": memory.y[:n_exc], "y2": memory.y2[:n_exc]}
