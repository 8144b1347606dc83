"""Labels: the class of each neuron, from its spike counts on training images (Diehl & Cook 2015, section 2.5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stdp_run.evaluation.calibration import Calibration

NO_LABEL = -1


@dataclass(frozen=True)
class Labels:
    """The class of each neuron, from its responses to training images."""

    label: np.ndarray  # [E] int64, the class with the most spikes per image, or NO_LABEL where it never spiked
    mean_count: np.ndarray  # [C, E] mean spikes per image of each class
    calibration: Mapping[str, Calibration] = field(default_factory=dict)  # by readout; of one not there, as shares

    @property
    def n_classes(self) -> int:
        return len(self.mean_count)

    @property
    def n_silent(self) -> int:
        """The number of neurons that never spiked."""
        return int((self.label == NO_LABEL).sum())

    def stored(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return the labels and the names of the classes in plain containers and arrays, for a checkpoint."""
        calibration = {name: list(each) for name, each in self.calibration.items()}
        arrays = {"label": self.label, "mean_count": self.mean_count}
        return {**arrays, "classes": list(classes), "calibration": calibration}


def sum_by_class(counts: np.ndarray, classes: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the spike counts [N, E] of images of `classes` [N] summed by class, [C, E] float64 of whole numbers."""
    return one_hot(classes, n_classes).T @ counts.astype(np.float64)


def one_hot(classes: np.ndarray, n_classes: int) -> np.ndarray:
    """Return [N, C] float64, 1 at each image's class; a class of -1 has no 1."""
    return (classes[:, None] == np.arange(n_classes)).astype(np.float64)


def assign_labels(sums: np.ndarray, n_images: np.ndarray) -> Labels:
    """Return the labels from the spikes summed by class, [C, E], and the number of images of each class, [C]."""
    mean_count = sums / np.maximum(n_images, 1)[:, None]
    label = np.where(mean_count.sum(axis=0) > 0, mean_count.argmax(axis=0), NO_LABEL)
    return Labels(label, mean_count)
