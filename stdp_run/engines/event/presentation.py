"""The arguments of kernels, and their common loop over images.

Sizes: N images, I inputs, of which A are active in an image, E neurons, R presentations of an image at most, T steps.
"""

from typing import Any, NamedTuple

import numpy as np

from stdp_run.encoding import presentation_key
from stdp_run.engines.event.jit import Bound
from stdp_run.engines.event.sampling import SpikeTrain, sample, train_of

kernel = Bound("kernel")


class Network(NamedTuple):
    """One network; E counts the padding of rows to whole vectors."""

    neuron_parameters: Any  # those of the neuron group, in the types of the kernel
    rule_parameters: Any  # those of the rule; 0 with learning off
    memory: Any  # working memory of the rule's implementation
    weight: np.ndarray  # [I, E]
    theta: np.ndarray  # [E]


class Images(NamedTuple):
    """The images of one call, and their answers."""

    pixels: np.ndarray  # uint8 [N, I], as the encoder prepares them
    image_index: np.ndarray  # int64 [N], the index of each image in its data set
    rate: np.ndarray  # [N] in the type of the weights, factor of the learning-rate schedule
    k_winners: np.ndarray  # int64 [N], how many neurons may learn from an image, the first to fire; 0: all
    counts: np.ndarray  # int32 [N, neurons without padding], to which excitatory spikes are added


class Presentation(NamedTuple):
    """How the images of one call are presented."""

    learning: bool
    epoch: int  # with learning off: the number of the presentation
    seed: int
    stream: int  # of stdp_run.encoding
    thresholds: np.ndarray  # int64 [R, 256] by pixel value: a random word below it is a spike
    min_spikes: int  # an image that evokes fewer is presented again with the next thresholds, if there are any
    rest_steps: int  # after each presentation
    all_inputs: np.ndarray  # uint32 [I] if every input counts as active, since its trace runs on; else empty
    sampled: bool  # the spike trains already hold the first presentation of each image


class Image(NamedTuple):
    """One presentation of one image; fields without comment are as in `Images`."""

    n_steps: int  # T, without the rest
    rest_steps: int  # without input, after the others
    active_inputs: np.ndarray  # uint32 [A], the inputs that can spike, ascending; the others are silent
    train: SpikeTrain  # its spikes are ranks of active inputs
    counts: np.ndarray
    rate: float
    k_winners: int
    index: int
    presentation: int  # stdp_run.encoding.presentation_key
    seed: int


class EventStep(NamedTuple):
    """One step of one image, as a rule's implementation sees it."""

    number: int  # from 0
    is_last: bool  # of the presentation, the rest included
    spikes: np.ndarray  # uint32, ranks of the active inputs that spike, ascending
    image: Image


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def span_of(image, t):
    """Return where in `train.ranks` the spikes of step t begin and end; there are none before the image and after."""
    first = image.train.first
    if t < 0 or t >= image.n_steps:
        return np.int64(0), np.int64(0)
    return first[t], first[t + 1]


def present(network, images, presentation, trains, scratch):
    """Present images one after the other; add the excitatory spikes to their counts.

    With learning on, weight, theta and memory change. An image with fewer than `min_spikes` spikes is presented again
    while there are further thresholds; only the last presentation counts. There are as many spike trains as images, or
    fewer that are reused in turn.
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
        if presentation.all_inputs.shape[0]:  # ranks are inputs then
            for s in range(train.first[n_steps]):
                train.ranks[s] = inputs[train.ranks[s]]
            inputs = presentation.all_inputs
        image = Image(
            n_steps, presentation.rest_steps, inputs, train, counts, rate, k_winners, index, key, presentation.seed
        )
        kernel.present_image(network, image, presentation.learning, scratch)
        repeat += 1
        if repeat < presentation.thresholds.shape[0] and counts.sum() < presentation.min_spikes:
            counts[:] = 0
        else:
            n += 1
            repeat = 0
