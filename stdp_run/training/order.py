"""The order of presentations (`trainer.order`), their schedules, and the reports and evaluations between them."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from stdp_run.config.sections import TrainerSettings
from stdp_run.encoding import image_order


def presentation_order(order: str, classes: np.ndarray, epoch: int, seed: int) -> np.ndarray:
    """Return the order of the images of one epoch, a permutation of 0..N-1 (int64); `order` is `trainer.order`."""
    if order == "as_stored":
        return np.arange(len(classes))
    shuffled = image_order(len(classes), epoch, seed)
    return shuffled if order == "shuffled" else shuffled[np.argsort(classes[shuffled], kind="stable")]


def lr_factor(options: TrainerSettings, progress: np.ndarray) -> np.ndarray:
    """Return the factor on weight changes, from 1 to `rate_end`, at a `progress` of 0 to 1 through the run."""
    if options.schedule == "constant":
        return np.ones_like(progress)
    if options.schedule == "exponential":
        return options.rate_end**progress
    return options.rate_end + (1 - options.rate_end) * 0.5 * (1 + np.cos(math.pi * progress))


def schedules(
    options: TrainerSettings, k_winners: int | None, progress: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return (lr_factor, number of winners or None if constant) of images at a `progress` [N] of 0 to 1."""
    rate, first = lr_factor(options, progress), options.k_winners_start
    if first is None or k_winners is None:
        return rate, None
    return rate, np.rint(first * (k_winners / first) ** progress).astype(np.int64)


def images_per_row(options: TrainerSettings, n_images: int) -> int:
    """Return the images between two rows of metrics: `trainer.log_every`, or 1/20 of the run, 100 to 1,000."""
    return options.log_every or min(1000, max(100, n_images // 20))


def evaluated_after(options: TrainerSettings, classes: np.ndarray, epochs: int) -> Sequence[int]:
    """Return the numbers of images after which accuracy is measured; `classes` is [N] for one epoch.

    Without `evaluate_every`, images by class are evaluated at the end of each class but the last.
    """
    n_images = len(classes)
    if options.evaluate_every is not None:
        return range(options.evaluate_every, n_images * epochs + 1, options.evaluate_every)
    if options.order != "by_class":
        return ()
    ends = np.cumsum(np.unique(classes, return_counts=True)[1])
    return (np.arange(epochs)[:, None] * n_images + ends).ravel()[:-1].tolist()


def presented_by_class(classes: np.ndarray, n_classes: int, images_seen: Sequence[int], least: int) -> np.ndarray:
    """Return the classes presented between consecutive evaluations, bool [K, C], for images by class.

    `classes` is [N]; `images_seen` [K] is the number of images before each evaluation, over all epochs. The last batch
    of a class may have some images of the next class. A class counts from `least` images on, the size of a batch, or
    with all of its images.
    """
    in_order, existing = np.sort(classes), np.bincount(classes, minlength=n_classes)
    parts = [in_order[np.arange(*ends) % len(in_order)] for ends in pairwise((0, *images_seen))]
    counts = np.array([np.bincount(part, minlength=n_classes) for part in parts])
    return (counts > 0) & (counts >= np.minimum(least, existing))
