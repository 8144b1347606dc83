"""The network: what it is made of, its state, and the order of one step.

    1. input spikes s_in, which arrive at once or, where the neuron group has delays, after that of each synapse
    2. current into excitatory neurons: w @ s_in - w_ie (sum(s_inh) - s_inh), s_inh of the step before
    3. excitatory neurons advance -> s_exc
    4. inhibitory neurons advance with current w_ei s_exc -> s_inh
    5. if learning: the rule updates its traces with this step's spikes, then the weights from the updated traces;
       where `k_winners` is set it sees the spikes of the first neurons to fire in the image only

Steps 2 to 4 are the neuron group's (`NeuronGroup.advance`), which may have conductances in place of currents.

Per image, membrane potentials, refractory counters and traces start afresh; weights and theta persist, and what a rule
says it keeps. In a network that runs on (`NeuronGroup.runs_on`) all of that goes on from image to image while it
learns, through steps of rest without input that end each presentation. With learning off every image is answered from
rest, and nothing persistent changes. (Diehl & Cook 2015, section 2.) An image that evokes too few excitatory spikes can
be presented again at a higher rate with new input spikes, with learning on or off (`Encoder`); every presentation is
learned from, and its counts are those of the last one.

`step` is the reference, on torch tensors, for B images side by side. With B > 1 all images see the same weights; their
weight changes are reduced to one (`Reduction`); their changes of theta are added, as B images in turn would do.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from stdp_run.elementwise import Tensor, Tensors
from stdp_run.encoding import DELAYS, WEIGHTS, Encoder, words_of_synapses
from stdp_run.neurons import NeuronGroup
from stdp_run.rules.base import Rule, Step, at_synapses, latest_first
from stdp_run.rules.reduction import Reduction

NEURONS_AT_ONCE = 256  # whose weights are sampled at once: words take four times the memory of the weights


@dataclass(frozen=True)
class Model:
    """What a network computes, apart from its state."""

    n_inputs: int
    n_exc: int
    rule: type[Rule]
    rule_parameters: Any  # a named tuple (stdp_run.parameters)
    neuron: type[NeuronGroup]
    neuron_parameters: Any  # likewise
    encoder: Encoder
    seed: int
    dtype: str = "float32"
    k_winners: int | None = None  # different neurons that learn from one image, the first to fire; None: all
    n_presentations: int = 1  # of an image with learning off, each from rest and with new spikes; counts are added up
    inference: Encoder | None = None  # how images are then encoded; None: as for learning

    @property
    def inference_encoder(self) -> Encoder:
        """How images are encoded while learning is off."""
        return self.inference or self.encoder

    @property
    def runs_on(self) -> bool:
        """Whether all of the network's state goes on from image to image while it learns."""
        return self.neuron.runs_on

    @cached_property
    def delays(self) -> np.ndarray | None:
        """The delay of each input synapse, uint8 [E, I] in steps, uniform in 0..max_delay; None: there are none."""
        most = round(getattr(self.neuron_parameters, "max_delay", 0.0) / self.encoder.dt_ms)
        if most == 0:
            return None
        delays = np.empty((self.n_exc, self.n_inputs), np.uint8)
        for first in range(0, self.n_exc, NEURONS_AT_ONCE):
            rows = delays[first : first + NEURONS_AT_ONCE]
            rows[:] = words_of_synapses(len(rows), self.n_inputs, self.seed, first, DELAYS) * (most + 1) >> 32
        return delays

    @cached_property
    def _delays_by_device(self) -> dict[Any, Tensor]:
        return {}

    def delays_on(self, device: Any) -> Tensor | None:
        """Return the same as a tensor on a torch device, int64; always the same one."""
        if self.delays is None:
            return None
        if device not in self._delays_by_device:
            import torch

            self._delays_by_device[device] = torch.from_numpy(self.delays).long().to(device)
        return self._delays_by_device[device]

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
    """All that persists from image to image, and so all that a checkpoint needs."""

    weight: np.ndarray  # [E, I] from input to excitatory neuron
    theta: np.ndarray  # [E] adaptive part of the threshold; integer groups: the threshold
    persistent: dict[str, np.ndarray] = field(default_factory=dict)  # what the rule keeps, and what runs on

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every array by name."""
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
    return NetworkState(
        weight=weight,
        theta=np.full(model.n_exc, theta, model.theta_dtype),
        persistent=persistent_state(model, weight),
    )


def persistent_state(model: Model, weight: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the rule keeps, and what runs on, as they are before the first image, by name."""
    kept = model.rule.persistent(model.rule_parameters, weight)
    if not model.runs_on:
        return kept
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in kept.items()}
    like = torch.zeros((0, model.n_inputs), dtype=getattr(torch, model.weight_dtype.name))
    state = start_image(model, like, like, tensors, 1)
    state = state._replace(cells=model.neuron.first_cells(model.neuron_parameters, like.new_zeros((1, model.n_exc))))
    return {name: tensor.numpy().copy() for name, tensor in what_persists(model, state).items()}


def _no_input_spikes(model: Model, weight: Tensor, n_images: int) -> Tensor:
    """Return zeros [B, I], typed as weights; with delays of up to D steps [D + 1, B, I], the latest step first."""
    steps = () if model.delays is None else (int(model.delays.max()) + 1,)
    return weight.new_zeros((*steps, n_images, model.n_inputs))


class Plasticity(NamedTuple):
    """What learning takes in one step, beside the state."""

    rate: Tensor  # [], factor of the learning-rate schedule
    last: bool  # this is the image's last step
    reduce: Reduction
    words: Callable[[], tuple[Tensor, Tensor]]  # as in rules.base.Step
    k_winners: Tensor | None = None  # [], neurons that may learn from an image; None: all


class ImageState(NamedTuple):
    """The state of B networks with common weights while an image is presented to each; tensors."""

    weight: Tensor  # [E, I]
    theta: Tensor  # [E]
    cells: Tensors  # [B, E] each, of the neurons, by name (NeuronGroup.cells)
    input_spikes: Tensor  # with delays [D + 1, B, I], those of the latest steps, the latest first; else empty
    traces: Tensors  # the rule's
    learns: Tensor  # [B, E] bool, the neurons that were among the first `k_winners` to fire
    delays: Tensor  # int64 [E, I] in steps, of the input synapses, a constant; empty where there are none


def start_image(model: Model, weight: Tensor, theta: Tensor, persistent: Tensors, n_images: int) -> ImageState:
    """Return the state of `n_images` networks at rest at the start of an image; tensors on the device of `weight`."""
    input_spikes, no_spikes = _no_input_spikes(model, weight, n_images), weight.new_zeros((n_images, model.n_exc))
    delays = model.delays_on(weight.device)
    return ImageState(
        weight=weight,
        theta=theta,
        cells=model.neuron.cells(model.neuron_parameters, no_spikes),
        input_spikes=input_spikes if model.delays is not None else weight.new_zeros(0),
        traces=model.rule.start(model.rule_parameters, persistent, input_spikes, no_spikes),
        learns=no_spikes.bool(),
        delays=weight.new_zeros(0) if delays is None else delays,
    )


def run_on(model: Model, state: ImageState, persistent: Tensors) -> ImageState:
    """Return the state of one network at the start of an image, with what runs on as it was after the image before."""
    afresh = {*model.rule.traces_of_image, *model.rule.finish(model.rule_parameters, state.traces)}
    cells = {name: persistent[name].unsqueeze(-2) for name in state.cells}
    traces = {
        name: at_start if name in afresh else persistent[name].unsqueeze(-2) for name, at_start in state.traces.items()
    }
    return state._replace(cells=cells, traces=traces)


def what_persists(model: Model, state: ImageState) -> Tensors:
    """Return what lasts beyond an image that was learned from, by name, beside weight and theta."""
    kept = model.rule.finish(model.rule_parameters, state.traces)
    if not model.runs_on:
        return kept
    running = {**state.cells, **state.traces}
    return {**{name: each.squeeze(-2) for name, each in running.items() if name not in kept}, **kept}


def step(
    model: Model, state: ImageState, input_spikes: Tensor, plasticity: Plasticity | None = None
) -> tuple[ImageState, Tensor]:
    """Advance a step, in the order on top of this file; return (state, excitatory spikes [B, E]).

    `input_spikes` [B, I] are 0 or 1, typed as weights; without `plasticity`, learning is off.
    """
    p, learning, dtype = model.neuron_parameters, plasticity is not None, state.weight.dtype
    # 1. Input spikes, and what arrives of them.
    delays = state.delays if state.delays.numel() else None
    if delays is None:
        arrivals = matrix_product(input_spikes, state.weight)
    else:
        input_spikes = latest_first(input_spikes, state.input_spikes)
        state = state._replace(input_spikes=input_spikes)
        arrivals = delayed_product(input_spikes, state.weight, delays)
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
    theta = common_theta(state.theta, theta)
    return after._replace(weight=weight, theta=theta, traces=traces, learns=learns), spikes


def first_to_fire(learns: Tensor, fired: Tensor, limit: Tensor) -> Tensor:
    """Return which neurons learn from their image, bool [B, E]: the first `limit` different ones to fire in it.

    `learns` are those that were among them before, `fired` those that spike now; the lower index is first.
    """
    new = fired & ~learns
    place = new.cumsum(dim=1) + learns.sum(dim=1, keepdim=True)
    return learns | (new & (place <= limit))


def common_theta(before: Tensor, rows: Tensor) -> Tensor:
    """Return the one theta [E] for all images: `before` [E] and the sum of what each row [B, E] added to it."""
    if len(rows) == 1:
        return rows[0]
    return before + (rows - before).sum(dim=0, dtype=before.dtype)


def matrix_product(spikes: Tensor, weight: Tensor) -> Tensor:
    """Return spikes[B, I] @ weight[E, I]^T as [B, E]; integers stay integers, also on a GPU."""
    if weight.dtype.is_floating_point or weight.device.type == "cpu":
        return spikes @ weight.T
    return (spikes[:, None, :] * weight).sum(dim=2, dtype=weight.dtype)


def delayed_product(spikes: Tensor, weight: Tensor, delays: Tensor) -> Tensor:
    """Return the sums of weight[E, I] over the spikes [D + 1, B, I], latest first, that arrive now, [B, E]."""
    if spikes.shape[1] == 1:
        return (at_synapses(spikes, delays) * weight).sum(dim=2)
    return sum(each @ (weight * (delays == steps)).T for steps, each in enumerate(spikes))
