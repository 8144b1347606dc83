"""The arguments of kernels, and their common loop over images.

Sizes: N images, I inputs, A active inputs of an image, E neurons, at most R presentations of an image, T steps.
"""

from typing import Any, NamedTuple

import numpy as np

from stdp_run.encoding import presentation_key
from stdp_run.engines.base import EXCITATORY, INHIBITORY, INPUTS, PRESENTATIONS
from stdp_run.engines.event.jit import Bound
from stdp_run.engines.event.sampling import SpikeTrain, add_by_input, sample, train_of

kernel = Bound("kernel")


class Network(NamedTuple):
    """One network; E counts the padding of rows to whole vectors."""

    neuron_parameters: Any  # constants of the neuron group, in the types of the kernel
    rule_parameters: Any  # constants of the rule; 0 with learning off
    memory: Any  # working memory of the rule's implementation
    weight: np.ndarray  # [I, E]
    theta: np.ndarray  # [E]


class Images(NamedTuple):
    """The images of one call, and their spike counts."""

    pixels: np.ndarray  # uint8 [N, I], prepared by the encoder
    image_index: np.ndarray  # int64 [N], the index of each image in its dataset
    rate: np.ndarray  # [N] in the type of the weights, factor of the learning rate schedule
    k_winners: np.ndarray  # int64 [N], number of neurons that learn from an image, the first to fire; 0: all
    counts: np.ndarray  # int32 [N, neurons without padding], excitatory spikes; the kernel adds to them
    activity: np.ndarray  # int64 [3 + I] (engines.base); with learning off the kernel adds to it


class Presentation(NamedTuple):
    """The options of one call."""

    learning: bool
    epoch: int  # with learning off: the number of the presentation
    seed: int
    stream: int  # random stream of stdp_run.encoding
    thresholds: np.ndarray  # int64 [R, 256] by pixel value: a random word below its threshold is a spike
    min_spikes: int  # an image that evokes fewer spikes is presented again, up to R times in all
    rest_steps: int  # steps without input after each presentation
    all_inputs: np.ndarray  # uint32 [I] if traces run on, so that every input counts as active; else empty
    sampled: bool  # the spike trains already hold the first presentation of each image


class Image(NamedTuple):
    """One presentation of one image; fields without comment are as in `Images`."""

    n_steps: int  # T, without the rest
    rest_steps: int  # steps without input after these
    active_inputs: np.ndarray  # uint32 [A], the inputs that can spike, ascending; the others are silent
    train: SpikeTrain  # spikes are ranks of active inputs
    counts: np.ndarray
    rate: float
    k_winners: int
    index: int
    presentation: int  # stdp_run.encoding.presentation_key
    seed: int


class EventStep(NamedTuple):
    """One step of one image, for the implementation of a rule."""

    number: int  # from 0
    is_last: bool  # of the presentation, the rest included
    spikes: np.ndarray  # uint32, ranks of the active inputs that spike, ascending
    image: Image


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def span_of(image, t):
    """Return (begin, end) of the spikes of step t in `train.ranks`; empty for a step outside the image."""
    first = image.train.first
    if t < 0 or t >= image.n_steps:
        return np.int64(0), np.int64(0)
    return first[t], first[t + 1]


def present(network, images, presentation, trains, scratch):
    """Present images one after the other; add the excitatory spikes to their counts.

    With learning on, weight, theta and memory change. An image with fewer than `min_spikes` spikes is presented again
    while thresholds remain; only the last presentation counts. Images use the spike trains in turn.
    """
    n_steps, n_trains = trains.first.shape[1] - 1, trains.first.shape[0]
    n = repeat = np.int64(0)
    while n < images.pixels.shape[0]:
        counts, index = images.counts[n], images.image_index[n]
        key = presentation_key(presentation.epoch, repeat)
        if repeat or not presentation.sampled:
            sample(images, n, repeat, key, presentation, trains, n % n_trains)
        train = train_of(trains, n % n_trains)
        inputs, rate, k_winners = train.active_inputs[: train.n_active], images.rate[n], images.k_winners[n]
        if presentation.all_inputs.shape[0]:  # every input is active: ranks become inputs
            for s in range(train.first[n_steps]):
                train.ranks[s] = inputs[train.ranks[s]]
            inputs = presentation.all_inputs
        image = Image(
            n_steps, presentation.rest_steps, inputs, train, counts, rate, k_winners, index, key, presentation.seed
        )
        n_inhibitory = kernel.present_image(network, image, presentation.learning, scratch)
        if not presentation.learning:
            images.activity[PRESENTATIONS] += 1
            images.activity[EXCITATORY] += counts.sum()
            images.activity[INHIBITORY] += n_inhibitory
            add_by_input(train, n_steps, images.activity[INPUTS:])
        repeat += 1
        if repeat < presentation.thresholds.shape[0] and counts.sum() < presentation.min_spikes:
            counts[:] = 0
        else:
            n += 1
            repeat = 0
