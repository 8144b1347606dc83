"""The network: what it is made of, its state, and the order of one step.

    1. input spikes s_in
    2. current into excitatory neurons: w @ s_in - w_ie (sum(s_inh) - s_inh), s_inh of the step before
    3. excitatory neurons advance -> s_exc
    4. inhibitory neurons advance with current w_ei s_exc -> s_inh
    5. if learning: the rule updates its traces with this step's spikes, then the weights from the updated traces;
       where `max_learners` is set it sees the spikes of the first neurons to fire in the image only (`admit`)

Per image, membrane potentials, refractory counters and traces start afresh; weights and theta persist, and what a rule
says it keeps. With learning off nothing persistent changes. (Diehl & Cook 2015, section 2.) An image that evokes too
few excitatory spikes can be shown again at a higher rate, from rest and with new input spikes, with learning on or off
(`Encoder`); every showing is learned from, and its counts are those of the last one.

`step` is the reference, on torch tensors, for B images side by side. With B > 1 all images see the same weights; their
weight changes are reduced to one (`Reduction`); their changes of theta are added, as B images in turn would do.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from stdp_run.encoding import ROUNDING, even_out, philox, spike_thresholds, uniform_words
from stdp_run.neurons import NeuronGroup
from stdp_run.rules.base import Rule

if TYPE_CHECKING:
    from torch import Tensor

REDUCTIONS = ("sum", "mean", "max")
NEURONS_AT_ONCE = 256  # whose weights are drawn at once: words take four times the memory of the weights


@dataclass(frozen=True)
class Encoder:
    """Poisson encoding: `n_steps` steps of `dt_ms` an image, a white pixel fires at `max_rate_hz`.

    An image that evokes fewer than `min_spikes` excitatory spikes is shown again, at most `max_repeats` times, each
    time at a rate that is `rate_step_hz` higher (Diehl & Cook 2015, section 2.5).
    """

    n_steps: int
    max_rate_hz: float
    dt_ms: float
    gamma: float = 1.0  # see encoding.even_out, as for mean_pixel
    mean_pixel: float | None = None
    min_spikes: int = 0
    rate_step_hz: float = 0.0
    max_repeats: int = 0

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """Return the pixels, uint8 [N, I], that are turned into spikes."""
        return even_out(pixels, self.gamma, self.mean_pixel)

    @property
    def max_presentations(self) -> int:
        """How often an image is shown at most."""
        return 1 + (self.max_repeats if self.min_spikes else 0)

    @property
    def thresholds(self) -> np.ndarray:
        """The spike threshold of each pixel value, [256] int64, when an image is first shown."""
        return self.thresholds_by_repeat[0]

    @property
    def thresholds_by_repeat(self) -> np.ndarray:
        """The same, [R, 256], for each of the R times that an image is shown at most."""
        rates = [self.max_rate_hz + repeat * self.rate_step_hz for repeat in range(self.max_presentations)]
        return np.stack([spike_thresholds(rate, self.dt_ms) for rate in rates])

    def limits(self, pixels: np.ndarray, repeat: int = 0) -> np.ndarray:
        """Return below what random words are spikes, [N, I] int64; images uint8 [N, I], shown `repeat` times before."""
        return self.thresholds_by_repeat[repeat][self.prepare(pixels)]


@dataclass(frozen=True)
class Model:
    """What a network computes, apart from its state."""

    n_inputs: int
    n_exc: int
    rule: type[Rule]
    rule_parameters: tuple
    neuron: type[NeuronGroup]
    neuron_parameters: tuple
    encoder: Encoder
    seed: int
    dtype: str = "float32"
    max_learners: int | None = None  # different neurons that learn from one image, the first to fire; None: all
    n_presentations: int = (
        1  # times an image is shown, from rest and with new spikes, to be answered; its counts are added up
    )
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
    for first in range(0, model.n_exc, NEURONS_AT_ONCE):
        weight[first : first + NEURONS_AT_ONCE] = _initial_weights(model, first)
    _, theta, _ = model.neuron.initial(model.neuron_parameters)
    return NetworkState(
        weight=weight,
        theta=np.full(model.n_exc, theta, model.theta_dtype),
        persistent=model.rule.persistent(model.rule_parameters, weight),
    )


def _initial_weights(model: Model, first: int) -> np.ndarray:
    """Return the weights of up to NEURONS_AT_ONCE neurons from `first` on."""
    n_neurons = min(NEURONS_AT_ONCE, model.n_exc - first)
    words = uniform_words(n_neurons, model.n_inputs, model.seed, first)
    largest = model.neuron_parameters.w_init_max
    if model.neuron.arithmetic == "int":
        return (words * (largest + 1)) >> 32
    return words * (2.0**-32 * largest)


class Moment(NamedTuple):
    """What a rule sees of one step, B images side by side."""

    pre: "Tensor"  # [B, I] 0/1 input spikes
    post: "Tensor"  # [B, E] 0/1 excitatory spikes, of the neurons that learn from this image
    theta: "Tensor"  # [B, E] after this step's neuron update
    rate: "float | Tensor"  # factor of the learning-rate schedule, [] if a tensor
    last: bool  # this is the image's last step
    reduce: "Reduction"  # of changes [B, E, I] to one [E, I]
    words: Callable  # () -> two random words per image and synapse, [B, E, I], for stochastic rounding


class ImageState(NamedTuple):
    """The state of B networks with common weights while each is shown an image; tensors."""

    weight: "Tensor"  # [E, I]
    theta: "Tensor"  # [E]
    v: "Tensor"  # [B, E]
    refractory: "Tensor"  # [B, E] int32
    inhibitory_v: "Tensor"  # [B, E]
    inhibitory_refractory: "Tensor"  # [B, E] int32
    inhibitory_spikes: "Tensor"  # [B, E] of the step before
    traces: dict[str, "Tensor"]  # the rule's
    learns: "Tensor"  # [B, E] bool, the neurons that were among the first `max_learners` to fire


def start_image(model: Model, weight, theta, persistent: dict, n_images: int) -> ImageState:
    """Return the state of `n_images` networks at the start of an image; tensors on the device of `weight`."""
    import torch

    shape = (n_images, model.n_exc)
    v, _, inhibitory_v = model.neuron.initial(model.neuron_parameters)
    no_spikes = weight.new_zeros(shape)
    counter = torch.zeros(shape, dtype=torch.int32, device=weight.device)
    pre = weight.new_zeros((n_images, model.n_inputs))
    return ImageState(
        weight=weight,
        theta=theta,
        v=weight.new_full(shape, v),
        refractory=counter,
        inhibitory_v=weight.new_full(shape, inhibitory_v),
        inhibitory_refractory=counter,
        inhibitory_spikes=no_spikes,
        traces=model.rule.start(model.rule_parameters, persistent, pre, no_spikes),
        learns=torch.zeros(shape, dtype=torch.bool, device=weight.device),
    )


def step(
    model: Model,
    state: ImageState,
    input_spikes,
    learning: bool,
    rate,
    last: bool,
    reduction,
    words,
    max_learners=None,
):
    """Advance a step; return (state, excitatory spikes [B, E]). `input_spikes` [B, I] are 0 or 1, typed as weights.

    `max_learners` neurons learn from an image, None: all that fire. It and `rate` are numbers or tensors [].
    """
    p = model.neuron_parameters
    inhibition = state.inhibitory_spikes.sum(dim=1, keepdim=True, dtype=state.v.dtype) - state.inhibitory_spikes
    current = matrix_product(input_spikes, state.weight) - p.w_ie * inhibition
    theta = state.theta.expand(state.v.shape)
    fired, v, refractory, theta = model.neuron.excitatory(p, learning, current, state.v, state.refractory, theta)
    spikes = fired.to(state.v.dtype)
    inhibitory = model.neuron.inhibitory(p, p.w_ei * spikes, state.inhibitory_v, state.inhibitory_refractory)
    weight, traces, shared_theta, learns = state.weight, state.traces, state.theta, state.learns
    if learning:
        seen = spikes
        if max_learners is not None:
            learns = admit(learns, fired, max_learners)
            seen = spikes * learns
        moment = Moment(input_spikes, seen, theta, rate, last, reduction, words)
        weight, traces = model.rule.step(model.rule_parameters, moment, weight, traces)
        shared_theta = shared(state.theta, theta)
    state = ImageState(
        weight=weight,
        theta=shared_theta,
        v=v,
        refractory=refractory,
        inhibitory_v=inhibitory[1],
        inhibitory_refractory=inhibitory[2],
        inhibitory_spikes=inhibitory[0].to(state.v.dtype),
        traces=traces,
        learns=learns,
    )
    return state, spikes


def admit(learns, fired, limit: int):
    """Return which neurons learn from their image, [B, E]: the first `limit` different ones to fire in it.

    Args:
        learns: bool [B, E], those that were admitted before.
        fired: bool [B, E], those that spike now; of several new ones the lower index is first.
    """
    new = fired & ~learns
    place = new.cumsum(dim=1) + learns.sum(dim=1, keepdim=True)
    return learns | (new & (place <= limit))


def shared(before, rows):
    """Return the one theta [E] for all images: `before` [E] and the sum of what each row [B, E] added to it."""
    if len(rows) == 1:
        return rows[0]
    return before + (rows - before).sum(dim=0, dtype=before.dtype)


def matrix_product(spikes, weight):
    """Return spikes[B, I] @ weight[E, I]^T as [B, E]; integers stay integers, also on a GPU."""
    if weight.dtype.is_floating_point or weight.device.type == "cpu":
        return spikes @ weight.T
    return (spikes[:, None, :] * weight).sum(dim=2, dtype=weight.dtype)


class Reduction:
    """Makes of the weight changes of a batch of images one change.

    "sum" adds them, "mean" averages them, "max" takes the largest rise and the deepest fall and adds these two.
    """

    def __init__(self, name: str):
        self.name = name
        self._reduce = {"sum": _sum, "mean": _mean, "max": _extremes}[name]

    def __call__(self, changes):
        """Return the one change [E, I] for `changes` [B, E, I]."""
        return changes[0] if len(changes) == 1 else self._reduce(changes)

    @property
    def adds(self) -> bool:
        """Whether the one change is a sum over images, up to a factor, so that `outer` can be had as a product."""
        return self.name in ("sum", "mean")

    def outer(self, post, pre):
        """Return what becomes of the changes post[B, E] x pre[B, I], floats, without a tensor of all of them."""
        if len(post) == 1:
            return post[0][:, None] * pre[0]
        total = post.T @ pre
        return total / len(post) if self.name == "mean" else total


def _sum(changes):
    return changes.sum(dim=0, dtype=changes.dtype)


def _mean(changes):
    total = changes.sum(dim=0, dtype=changes.dtype)
    return total / len(changes) if changes.dtype.is_floating_point else total.div(len(changes), rounding_mode="floor")


def _extremes(changes):
    return changes.amax(dim=0).clamp(min=0) + changes.amin(dim=0).clamp(max=0)


def rounding_words(shape: tuple[int, int], image_index, epoch, step_index, seed):
    """Return two random words per image and synapse, each [B, E, I] int64; `shape` is (E, I).

    `epoch`, `step_index` and `seed` are numbers or int64 tensors [].
    """
    import torch

    n_exc, n_inputs = shape
    synapse = torch.arange(n_exc * n_inputs, device=image_index.device).view(1, n_exc, n_inputs)
    counter_step = step_index + 0 * synapse
    words = philox(counter_step, synapse, image_index.view(-1, 1, 1), epoch, seed, ROUNDING)
    return words[0], words[1]
