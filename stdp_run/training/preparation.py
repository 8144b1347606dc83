"""Prepares a run: its images, network, engine and progress."""

import logging
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np

from stdp_run.checkpoint import Checkpoint, check_array, not_of_a_run
from stdp_run.config.build import build_first_layer, build_model
from stdp_run.config.schema import Settings
from stdp_run.datasets.selection import Data, load_images
from stdp_run.engines.selection import EngineOptions, choose, engine_options
from stdp_run.errors import UserError
from stdp_run.evaluation.metrics import RunningAccuracy
from stdp_run.evaluation.supervised import HELD_OUT
from stdp_run.network import Model
from stdp_run.training.order import images_per_row
from stdp_run.training.run_directory import RunDirectory

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """The progress of learning; a checkpoint stores it with the state of the network."""

    estimate: RunningAccuracy
    images: int = 0  # learned from, over all epochs
    reported: int = 0  # value of `images` at the last report
    spikes: int = 0  # excitatory spikes, over all epochs
    seconds: float = 0.0  # of learning
    window_seconds: float = 0.0  # of learning, since the last row of metrics
    wall_seconds: float = 0.0  # of the whole run, up to the last checkpoint
    counts: list[np.ndarray] = field(default_factory=list)  # spikes [N, E] of images since the last row, in parts
    classes: list[np.ndarray] = field(default_factory=list)  # [N], their classes

    @classmethod
    def of(cls, settings: Settings, data: Data, saved: dict[str, Any] | None) -> Self:
        """Return the progress of a checkpoint or a new run; `prepare` catches the errors of a damaged checkpoint."""
        options, n_classes = settings.trainer, len(data.classes)
        per_row = images_per_row(options, len(data.train_pixels) * settings.epochs)
        # With trainer.order=by_class, earlier images have earlier classes only and cannot label the present class.
        windows = 0 if options.order == "by_class" else max(1, options.label_window // per_row)
        progress = cls(RunningAccuracy(n_classes, windows))
        if saved is None:
            return progress
        for counts, classes in zip(saved["counts"], saved["classes"], strict=True):
            check_array("classes", classes, np.int64, (len(counts),), 0, n_classes - 1)
            check_array("counts", counts, np.int32, (len(classes), settings.n_exc), 0)
        for sums, n_images in saved["estimate"]:
            check_array("estimate", sums, np.float64, (n_classes, settings.n_exc), 0)
            check_array("estimate", n_images, np.int64, (n_classes,), 0)
        progress.estimate.earlier = [(sums, n_images) for sums, n_images in saved["estimate"]]
        kinds = {name: type(value) for name, value in vars(progress).items() if name != "estimate"}
        numbers = np.array([saved[name] for name, kind in kinds.items() if kind is not list], np.float64)
        check_array("progress", numbers, np.float64, numbers.shape, 0, 2**53)
        vars(progress).update({name: kind(saved[name]) for name, kind in kinds.items()})
        return progress

    def saved(self) -> dict[str, Any]:
        """Return the progress in plain containers and arrays, for a checkpoint."""
        return {**vars(self), "estimate": [list(each) for each in self.estimate.earlier]}

    def add(self, counts: np.ndarray, classes: np.ndarray, seconds: float) -> None:
        """Add images with classes [N] and spike counts [N, E], learned in `seconds`."""
        self.images += len(counts)
        self.spikes += int(counts.sum(dtype=np.int64))
        self.seconds += seconds
        self.window_seconds += seconds
        self.counts.append(counts)
        self.classes.append(classes)


class Prepared(NamedTuple):
    """A checked run, before anything is written."""

    settings: Settings
    directory: RunDirectory  # this process holds its lock
    model: Model
    data: Data
    options: EngineOptions
    choice: tuple[str, str]  # engine and device
    saved: Checkpoint | None  # the newest checkpoint; None if the run begins
    progress: Progress
    begun: float  # time.perf_counter()


def prepare(settings: Settings, directory: RunDirectory, gpu: int | None) -> Prepared:
    """Load and check everything for a run without writing; raise UserError if the run is refused."""
    begun = time.perf_counter()
    saved, model, options = directory.newest(), build_model(settings), engine_options(settings, gpu)
    data = load_images(settings)
    if settings.evaluator.supervised:
        n_labelled, n_classes = len(data.label_classes), len(data.classes)
        least = max(n_classes, HELD_OUT)
        if n_labelled < least:
            found = f"{n_labelled} labelled images (n_label, n_train) of {n_classes} classes"
            raise UserError.bad_value("evaluator.supervised", True, f"false with {found}; it needs {least}")
    try:
        if saved is not None:
            saved.check(model, build_first_layer(settings))
            engine, device = saved.engine
            options = options._replace(engine=engine, device=device)
        progress = Progress.of(settings, data, (saved.progress or {}) if saved else None)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise not_of_a_run(directory.checkpoints, error) from error
    choice = choose(model, options)
    if choice == ("torch", "cpu") and options.batch_size == 1 and options.threads is None:
        log.info("torch takes one thread with batch_size=1; threads=N takes more")
        options = options._replace(threads=1)
    return Prepared(settings, directory, model, data, options, choice, saved, progress, begun)
