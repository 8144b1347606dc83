"""What kernels are handed, and the loop over images that they share.

Arrays are taken out of these tuples once for each image, or inside of functions that become a part of the kernel.
Sizes: N images, I inputs, of which A are active in an image, E neurons, R presentations of an image at most, T steps.
"""

from typing import Any, NamedTuple

import numpy as np

from stdp_run.encoding import presentation_key
from stdp_run.engines.event.jit import Bound
from stdp_run.engines.event.spike_sampling import sample_spikes, train_of

kernel = Bound("kernel")


class Network(NamedTuple):
    """One network; weight, theta and memory change while it learns. E counts the padding of rows to whole vectors."""

    neuron_parameters: Any  # those of the neuron group, in the types of the kernel
    rule_parameters: Any  # those of the rule; 0 where nothing learns
    memory: Any  # what the rule's implementation works with
    weight: np.ndarray  # [I, E]
    theta: np.ndarray  # [E]


class Images(NamedTuple):
    """The images of one call, and their answers."""

    pixels: np.ndarray  # uint8 [N, I], as the encoder prepares them
    image_index: np.ndarray  # int64 [N], the place of each image in its data set
    rate: np.ndarray  # [N] in the type of the weights, factor of the learning-rate schedule
    max_learners: np.ndarray  # int64 [N], how many neurons may learn from an image, the first to fire; 0: all
    counts: np.ndarray  # int32 [N, neurons without padding], to which excitatory spikes are added


class Presentation(NamedTuple):
    """How the images of one call are presented."""

    learning: bool
    epoch: int  # with learning off: the number of the presentation
    seed: int
    stream: int  # of stdp_run.encoding
    thresholds: np.ndarray  # int64 [R, 256] by pixel value: a random word below it is a spike
    min_spikes: int  # an image that evokes fewer is presented again with the next thresholds, if there are any
    sampled: bool  # the spikes of the first presentation of each image are in its spike train already


class Image(NamedTuple):
    """One presentation of one image; what is not said here is as in `Images`."""

    n_steps: int  # T
    active_inputs: np.ndarray  # uint32 [A], the inputs that can spike, ascending; others are silent
    counts: np.ndarray
    rate: float
    max_learners: int
    index: int
    presentation: int  # stdp_run.encoding.presentation_key
    seed: int


class EventStep(NamedTuple):
    """One step of one image, as a rule's implementation sees it."""

    number: int  # from 0
    spikes: np.ndarray  # uint32, the inputs that spike, as places in the list of active inputs, ascending
    image: Image


# ------------------------------------------------------------------------------------------------------------------
# Compiled code.


def sample_ahead(images, presentation, trains):
    """Sample the spikes of the first presentation of each image into its spike train."""
    key = presentation_key(presentation.epoch, 0)
    for n in range(images.pixels.shape[0]):
        sample(images, n, 0, key, presentation, trains, n)


def sample(images, n, repeat, key, presentation, trains, place):
    """Sample the spikes of an image, for its presentation `repeat`, into the spike train at a place."""
    thresholds, index = presentation.thresholds[repeat], images.image_index[n]
    seed, stream, train = presentation.seed, presentation.stream, train_of(trains, place)
    trains.n_active[place] = sample_spikes(images.pixels[n], thresholds, index, key, seed, stream, train)


def present(network, images, presentation, trains, scratch):
    """Present images one after the other; add the excitatory spikes to their counts.

    Where `presentation.learning`, weight, theta and memory change. An image with fewer than `min_spikes` spikes is
    presented again, as long as there are further thresholds; its counts are those of the last presentation. Spike
    trains are as many as images, or fewer, which serve in turn.
    """
    n_steps, n_trains = trains.first.shape[1] - 1, trains.first.shape[0]
    n = repeat = np.int64(0)
    while n < images.pixels.shape[0]:
        counts, index = images.counts[n], images.image_index[n]
        key = presentation_key(presentation.epoch, repeat)
        if repeat or not presentation.sampled:
            sample(images, n, repeat, key, presentation, trains, n % n_trains)
        train = train_of(trains, n % n_trains)
        inputs, rate, learners = train.active_inputs[: train.n_active], images.rate[n], images.max_learners[n]
        image = Image(n_steps, inputs, counts, rate, learners, index, key, presentation.seed)
        kernel.present_image(network, image, train, presentation.learning, scratch)
        repeat += 1
        if repeat < presentation.thresholds.shape[0] and counts.sum() < presentation.min_spikes:
            counts[:] = 0
        else:
            n += 1
            repeat = 0
