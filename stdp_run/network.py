"""The network: its model, its state, and the order of one step.

The order of a step, with weights w and spikes s_in, s_exc and s_inh::

    1. input spikes s_in arrive, at once or after the delay of their synapse
    2. current into excitatory neurons: w @ s_in - w_ie (sum(s_inh) - s_inh), with s_inh of the previous step
    3. excitatory neurons advance -> s_exc
    4. inhibitory neurons advance with current w_ei s_exc -> s_inh
    5. while learning: the rule updates its traces with the spikes of this step, then the weights from these traces

The neuron group does 2 to 4 (`NeuronGroup.advance`); it may use conductances instead of currents. With `k_winners`, the
rule sees only spikes of the first neurons to fire in the image.

Weights, theta and the persistent arrays of the rule last from image to image (Diehl & Cook 2015, section 2); other
state is reset. A network that runs on (`NeuronGroup.runs_on`) keeps all of its state while it learns; a rest without
input ends each presentation. With learning off every image starts from rest, and no persistent state changes. An image
that evokes too few spikes can be presented again at a higher rate (`Encoder`). The network learns from every
presentation; the spike counts of an image are the counts of the last one.

`step` is the reference implementation on torch tensors. B images side by side see the same weights. Their weight
changes are reduced to one (`Reduction`), and their changes of theta are added.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np

from stdp_run.elementwise import Tensor, Tensors
from stdp_run.encoding import DELAYS, WEIGHTS, Encoder, words_of_synapses
from stdp_run.neurons import NeuronGroup
from stdp_run.rules.base import Reduction, Rule, Step, at_synapses, latest_first

NEURONS_AT_ONCE = 256  # rows sampled at once; random words take four times the memory of the weights


@dataclass(frozen=True)
class Model:
    """Everything that defines a network apart from its state."""

    n_inputs: int
    n_exc: int
    rule: type[Rule]
    rule_parameters: Any  # a named tuple (stdp_run.parameters)
    neuron: type[NeuronGroup]
    neuron_parameters: Any  # likewise
    encoder: Encoder
    seed: int
    dtype: str = "float32"
    k_winners: int | None = None  # number of neurons that learn from one image, the first to fire; None: all
    n_presentations: int = 1  # of an image with learning off, each from rest with new spikes; counts are added
    inference: Encoder | None = None  # the encoder with learning off; None: `encoder`
    inference_w_ie: float | None = None  # inhibition with learning off; None: that of `neuron_parameters`

    @property
    def inference_encoder(self) -> Encoder:
        return self.inference or self.encoder

    @property
    def n_pixels(self) -> int:
        """The number of pixels of an image, P; the encoder makes one or two inputs of each."""
        return self.n_inputs // 2 if self.encoder.on_off else self.n_inputs

    @property
    def inference_parameters(self) -> Any:
        p = self.neuron_parameters
        return p if self.inference_w_ie is None else p._replace(w_ie=self.inference_w_ie)

    @property
    def runs_on(self) -> bool:
        """Whether all of the network's state runs on from image to image while it learns."""
        return self.neuron.runs_on

    @cached_property
    def delays(self) -> np.ndarray | None:
        """The delay of each input synapse, uint8 [E, I] in steps, uniform in 0..max_delay; None: no delays."""
        most = round(getattr(self.neuron_parameters, "max_delay", 0.0) / self.encoder.dt_ms)
        if most == 0:
            return None
        delays = np.empty((self.n_exc, self.n_inputs), np.uint8)
        for first in range(0, self.n_exc, NEURONS_AT_ONCE):
            rows = delays[first : first + NEURONS_AT_ONCE]
            rows[:] = words_of_synapses(len(rows), self.n_inputs, self.seed, first, DELAYS) * (most + 1) >> 32
        return delays

    @cached_property
    def delays_on(self) -> Callable[[Any], Tensor]:
        """A cached function from a torch device to the delays on it, an int64 tensor; empty: no delays."""
        import torch

        return cache(torch.from_numpy(np.zeros(0) if self.delays is None else self.delays).long().to)

    @property
    def weight_dtype(self) -> np.dtype:
        """The type of weights and membrane potentials: the configured one, or int32 for integer groups."""
        return np.dtype(np.int32 if self.neuron.arithmetic == "int" else self.dtype)

    @property
    def theta_dtype(self) -> np.dtype:
        """The type of theta. It decays by 1e-7 a step, which is below the resolution of float32."""
        return np.dtype(np.int32 if self.neuron.arithmetic == "int" else np.float64)


@dataclass
class NetworkState:
    """The state that persists from image to image; a checkpoint stores it."""

    weight: np.ndarray  # [E, I] from input to excitatory neuron
    theta: np.ndarray  # [E] adaptive part of the threshold; integer groups: the threshold
    persistent: dict[str, np.ndarray] = field(default_factory=dict)  # other arrays: the rule's, and state that runs on

    def arrays(self) -> dict[str, np.ndarray]:
        return {"weight": self.weight, "theta": self.theta, **self.persistent}


def initial_state(model: Model) -> NetworkState:
    """Return the state before learning: weights uniform in [0, w_init_max), integers 0..w_init_max."""
    weight = np.empty((model.n_exc, model.n_inputs), model.weight_dtype)
    integer, largest = model.neuron.arithmetic == "int", model.neuron_parameters.w_init_max
    for first in range(0, model.n_exc, NEURONS_AT_ONCE):
        rows = weight[first : first + NEURONS_AT_ONCE]
        words = words_of_synapses(len(rows), model.n_inputs, model.seed, first, WEIGHTS)
        rows[:] = (words * (largest + 1)) >> 32 if integer else words * (2.0**-32 * largest)
    _, theta, _ = model.neuron.initial(model.neuron_parameters)
    return NetworkState(weight, np.full(model.n_exc, theta, model.theta_dtype), persistent_state(model, weight))


def persistent_state(model: Model, weight: np.ndarray) -> dict[str, np.ndarray]:
    """Return the persistent arrays before the first image by name, without weight and theta."""
    kept = model.rule.persistent(model.rule_parameters, weight)
    if not model.runs_on:
        return kept
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in kept.items()}
    like = torch.zeros((0, model.n_inputs), dtype=getattr(torch, model.weight_dtype.name))
    cells = model.neuron.first_cells(model.neuron_parameters, like.new_zeros((1, model.n_exc)))
    state = start_image(model, like, like, tensors, 1)._replace(cells=cells)
    return {name: tensor.numpy().copy() for name, tensor in what_persists(model, state).items()}


class Plasticity(NamedTuple):
    """The inputs of learning in one step."""

    rate: Tensor  # [], factor of the learning rate schedule
    last: bool  # whether this is the last step of the image
    reduce: Reduction
    words: Callable[[], tuple[Tensor, Tensor]]  # as in rules.base.Step
    k_winners: Tensor | None = None  # [], number of neurons that learn from an image; None: all


class ImageState(NamedTuple):
    """The state of B networks with the same weights during an image; tensors."""

    weight: Tensor  # [E, I]
    theta: Tensor  # [E]
    cells: Tensors  # [B, E] each, state of the neurons by name (NeuronGroup.cells)
    input_spikes: Tensor  # with delays of up to D steps [D + 1, B, I], latest step first; else empty
    traces: Tensors  # traces of the rule by name
    learns: Tensor  # [B, E] bool, neurons among the first `k_winners` to fire so far
    delays: Tensor  # int64 [E, I] delays of the input synapses in steps, constant; else empty


def start_image(model: Model, weight: Tensor, theta: Tensor, persistent: Tensors, n_images: int) -> ImageState:
    """Return the state of `n_images` networks at rest at the start of an image; tensors on the device of `weight`."""
    steps = () if model.delays is None else (int(model.delays.max()) + 1,)
    pre, post = weight.new_zeros((*steps, n_images, model.n_inputs)), weight.new_zeros((n_images, model.n_exc))
    return ImageState(
        weight=weight,
        theta=theta,
        cells=model.neuron.cells(model.neuron_parameters, post),
        input_spikes=pre if steps else weight.new_zeros(0),
        traces=model.rule.start(model.rule_parameters, persistent, pre, post),
        learns=post.bool(),
        delays=model.delays_on(weight.device),
    )


def run_on(model: Model, state: ImageState, persistent: Tensors) -> ImageState:
    """Return the state of one network at the start of an image, with cells and traces of the previous image."""
    afresh = {*model.rule.traces_of_image, *model.rule.finish(model.rule_parameters, state.traces)}
    cells = {name: persistent[name].unsqueeze(-2) for name in state.cells}
    traces = {name: persistent[name].unsqueeze(-2) for name in state.traces if name not in afresh}
    return state._replace(cells=cells, traces={**state.traces, **traces})


def what_persists(model: Model, state: ImageState) -> Tensors:
    """Return the persistent tensors after an image by name, without weight and theta."""
    kept = model.rule.finish(model.rule_parameters, state.traces)
    running = {**state.cells, **state.traces} if model.runs_on else {}
    return {**{name: each.squeeze(-2) for name, each in running.items() if name not in kept}, **kept}


def step(
    model: Model, state: ImageState, input_spikes: Tensor, plasticity: Plasticity | None = None
) -> tuple[ImageState, Tensor]:
    """Advance by a step in the order of the module docstring; return (state, excitatory spikes [B, E]).

    `input_spikes` [B, I] are 0 or 1, typed as weights; without `plasticity`, learning is off.
    """
    learning, dtype = plasticity is not None, state.weight.dtype
    p = model.neuron_parameters if learning else model.inference_parameters
    # 1. Input spikes and arrivals.
    delays = state.delays if state.delays.numel() else None
    if delays is not None:
        input_spikes = latest_first(input_spikes, state.input_spikes)
        state = state._replace(input_spikes=input_spikes)
    arrivals = arriving(input_spikes, state.weight, delays)
    # 2. to 4. Excitatory and inhibitory neurons.
    theta = state.theta.expand(state.learns.shape)
    fired, cells, theta = model.neuron.advance(p, learning, arrivals, state.cells, theta)
    spikes, after = fired.to(dtype), state._replace(cells=cells)
    if plasticity is None:
        return after, spikes
    # 5. The rule.
    rate, last, reduce, words, k_winners = plasticity
    learns, post = state.learns, spikes
    if k_winners is not None:
        learns = first_to_fire(learns, fired, k_winners)
        post = spikes * learns
    seen = Step(input_spikes, post, theta, rate, last, reduce, words, delays)
    weight, traces = model.rule.step(model.rule_parameters, seen, state.weight, state.traces)
    theta = theta[0] if len(theta) == 1 else state.theta + (theta - state.theta).sum(dim=0, dtype=theta.dtype)
    return after._replace(weight=weight, theta=theta, traces=traces, learns=learns), spikes


def first_to_fire(learns: Tensor, fired: Tensor, limit: Tensor) -> Tensor:
    """Return the neurons that learn from their image, bool [B, E]: the first `limit` neurons to fire in it.

    `learns` is the result of the previous step, `fired` the neurons that spike now. The lower index is first if
    neurons fire in the same step.
    """
    new = fired & ~learns
    rank = new.cumsum(dim=1) + learns.sum(dim=1, keepdim=True)
    return learns | (new & (rank <= limit))


def arriving(spikes: Tensor, weight: Tensor, delays: Tensor | None) -> Tensor:
    """Return the sums [B, E] of weight[E, I] over arriving spikes; `spikes` is [B, I], with delays [D + 1, B, I]."""
    if delays is None and (weight.dtype.is_floating_point or weight.device.type == "cpu"):
        return spikes @ weight.T
    if delays is None:  # a GPU has no matrix product of integers
        return (spikes[:, None, :] * weight).sum(dim=2, dtype=weight.dtype)
    if spikes.shape[1] == 1:
        return (at_synapses(spikes, delays) * weight).sum(dim=2)
    return sum(each @ (weight * (delays == steps)).T for steps, each in enumerate(spikes))
