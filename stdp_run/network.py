"""The network: what it is made of, its state, and the order of one step.

    1. input spikes s_in
    2. current into excitatory neurons: w @ s_in - w_ie (sum(s_inh) - s_inh), s_inh of the step before
    3. excitatory neurons advance -> s_exc
    4. inhibitory neurons advance with current w_ei s_exc -> s_inh
    5. if learning: the rule updates its traces with this step's spikes, then the weights from the updated traces;
       where `max_learners` is set it sees the spikes of the first neurons to fire in the image only

Per image, membrane potentials, refractory counters and traces start afresh; weights and theta persist, and what a rule
says it keeps. With learning off nothing persistent changes. (Diehl & Cook 2015, section 2.) An image that evokes too
few excitatory spikes can be presented again at a higher rate, from rest and with new input spikes, with learning on or
off (`Encoder`); every presentation is learned from, and its counts are those of the last one.

`step` is the reference, on torch tensors, for B images side by side. With B > 1 all images see the same weights; their
weight changes are reduced to one (`Reduction`); their changes of theta are added, as B images in turn would do.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from stdp_run.elementwise import Tensor, Tensors
from stdp_run.encoding import Encoder, uniform_words
from stdp_run.neurons import NeuronGroup
from stdp_run.rules.base import Rule, Step
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
    max_learners: int | None = None  # different neurons that learn from one image, the first to fire; None: all
    n_presentations: int = 1  # of an image with learning off, each from rest and with new spikes; counts are added up
    inference: Encoder | None = None  # how images are then encoded; None: as for learning

    @property
    def inference_encoder(self) -> Encoder:
        """How images are encoded while learning is off."""
        return self.inference or self.encoder

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
    persistent: dict[str, np.ndarray] = field(default_factory=dict)  # what the rule keeps

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every array by name."""
        return {"weight": self.weight, "theta": self.theta, **self.persistent}


def initial_state(model: Model) -> NetworkState:
    """Return the state before learning: weights uniform in [0, w_init_max), integers 0..w_init_max."""
    weight = np.empty((model.n_exc, model.n_inputs), model.weight_dtype)
    integer, largest = model.neuron.arithmetic == "int", model.neuron_parameters.w_init_max
    for first in range(0, model.n_exc, NEURONS_AT_ONCE):
        rows = weight[first : first + NEURONS_AT_ONCE]
        words = uniform_words(len(rows), model.n_inputs, model.seed, first)
        rows[:] = (words * (largest + 1)) >> 32 if integer else words * (2.0**-32 * largest)
    _, theta, _ = model.neuron.initial(model.neuron_parameters)
    return NetworkState(
        weight=weight,
        theta=np.full(model.n_exc, theta, model.theta_dtype),
        persistent=model.rule.persistent(model.rule_parameters, weight),
    )


class Plasticity(NamedTuple):
    """What learning takes in one step, beside the state."""

    rate: float | Tensor  # factor of the learning-rate schedule, [] if a tensor
    last: bool  # this is the image's last step
    reduce: Reduction
    words: Callable[[], tuple[Tensor, Tensor]]  # as in rules.base.Step
    max_learners: int | Tensor | None = None  # neurons that may learn from an image, [] if a tensor; None: all


class ImageState(NamedTuple):
    """The state of B networks with common weights while an image is presented to each; tensors."""

    weight: Tensor  # [E, I]
    theta: Tensor  # [E]
    v: Tensor  # [B, E]
    refractory: Tensor  # [B, E] int32
    inhibitory_v: Tensor  # [B, E]
    inhibitory_refractory: Tensor  # [B, E] int32
    inhibitory_spikes: Tensor  # [B, E] of the step before
    traces: Tensors  # the rule's
    learns: Tensor  # [B, E] bool, the neurons that were among the first `max_learners` to fire


def start_image(model: Model, weight: Tensor, theta: Tensor, persistent: Tensors, n_images: int) -> ImageState:
    """Return the state of `n_images` networks at the start of an image; tensors on the device of `weight`."""
    shape = (n_images, model.n_exc)
    v, _, inhibitory_v = model.neuron.initial(model.neuron_parameters)
    no_input_spikes, no_spikes = weight.new_zeros((n_images, model.n_inputs)), weight.new_zeros(shape)
    return ImageState(
        weight=weight,
        theta=theta,
        v=weight.new_full(shape, v),
        refractory=no_spikes.int(),
        inhibitory_v=weight.new_full(shape, inhibitory_v),
        inhibitory_refractory=no_spikes.int(),
        inhibitory_spikes=no_spikes,
        traces=model.rule.start(model.rule_parameters, persistent, no_input_spikes, no_spikes),
        learns=no_spikes.bool(),
    )


def step(
    model: Model, state: ImageState, input_spikes: Tensor, plasticity: Plasticity | None = None
) -> tuple[ImageState, Tensor]:
    """Advance a step, in the order on top of this file; return (state, excitatory spikes [B, E]).

    `input_spikes` [B, I] are 0 or 1, typed as weights; without `plasticity`, learning is off.
    """
    p, learning, dtype = model.neuron_parameters, plasticity is not None, state.v.dtype
    # 2. Current into excitatory neurons.
    inhibition = state.inhibitory_spikes.sum(dim=1, keepdim=True, dtype=dtype) - state.inhibitory_spikes
    current = matrix_product(input_spikes, state.weight) - p.w_ie * inhibition
    # 3. Excitatory neurons.
    theta = state.theta.expand(state.v.shape)
    fired, v, refractory, theta = model.neuron.excitatory(p, learning, current, state.v, state.refractory, theta)
    spikes = fired.to(dtype)
    # 4. Inhibitory neurons.
    inhibitory_fired, inhibitory_v, inhibitory_refractory = model.neuron.inhibitory(
        p, p.w_ei * spikes, state.inhibitory_v, state.inhibitory_refractory
    )
    after = state._replace(
        v=v,
        refractory=refractory,
        inhibitory_v=inhibitory_v,
        inhibitory_refractory=inhibitory_refractory,
        inhibitory_spikes=inhibitory_fired.to(dtype),
    )
    if plasticity is None:
        return after, spikes
    # 5. The rule.
    rate, last, reduce, words, max_learners = plasticity
    learns, post = state.learns, spikes
    if max_learners is not None:
        learns = first_to_fire(learns, fired, max_learners)
        post = spikes * learns
    seen = Step(input_spikes, post, theta, rate, last, reduce, words)
    weight, traces = model.rule.step(model.rule_parameters, seen, state.weight, state.traces)
    theta = common_theta(state.theta, theta)
    return after._replace(weight=weight, theta=theta, traces=traces, learns=learns), spikes


def first_to_fire(learns: Tensor, fired: Tensor, limit: int | Tensor) -> Tensor:
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
