"""What kernels are handed: the network, the images, how they are presented, and what a rule sees of one step.

Arrays are taken out of these tuples once for each call of a kernel, or inside of functions that become a part of it.
Sizes: N images, I inputs, E neurons, R presentations of an image at most, T steps.
"""

from typing import Any, NamedTuple

import numpy as np


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


class EventStep(NamedTuple):
    """One step of one image, as a rule's implementation sees it."""

    number: int  # from 0
    is_last: bool
    rate: float
    spikes: np.ndarray  # uint32 [S], the inputs that spike, as places in the list of active inputs, ascending
    image_index: int
    presentation: int  # stdp_run.encoding.presentation_key
    seed: int
