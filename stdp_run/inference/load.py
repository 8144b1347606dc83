"""A trained network for use from Python: load it, and have it recognise pictures.

import stdp_run
network = stdp_run.load("outputs/DAY/RUN")
answers = network.classify(images)          # uint8 [N, 28, 28], bright strokes on black
answers.names, answers.confidence
"""

import logging
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stdp_run import checkpoint
from stdp_run.checkpoint import Checkpoint
from stdp_run.config.build import build_first_layer, build_model
from stdp_run.config.checks import or_null
from stdp_run.config.own_code import name_folder
from stdp_run.config.schema import Settings, read_settings
from stdp_run.engines.base import Engine
from stdp_run.engines.selection import EngineOptions, make_engine
from stdp_run.errors import UserError, printable
from stdp_run.evaluation.calibration import Calibration
from stdp_run.evaluation.labels import Labels
from stdp_run.evaluation.metrics import slices
from stdp_run.evaluation.readouts import NO_ANSWER, READOUTS, answer
from stdp_run.inference.first_layer import FirstLayer, make_first_layer
from stdp_run.network import Model, NetworkState
from stdp_run.parameters import whole_positive

CHECKPOINT = "checkpoint.pt"
FIRST_LAYER_FOLDER = "first_layer"  # in the directory of a run, for the run of its first layer
SHOWN = 10  # answers that are printed

log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class Answers:
    """What a network answers to N pictures."""

    class_index: np.ndarray  # [N] int64, place of the answer in `classes`; -1: no answer
    names: tuple[str | None, ...]  # [N] the name of the answer; None: no answer
    confidence: np.ndarray  # [N] float64, the probability that the answer is right (`calibration`); 0: no answer
    score: np.ndarray  # [N, C] float64, the readout's score of each class
    counts: np.ndarray  # [N, E] int32, spikes of each excitatory neuron
    classes: tuple[str, ...]  # [C] the names of the classes

    def __repr__(self) -> str:
        shown = [f"{name} ({share:.0%})" for name, share in zip(self.names[:SHOWN], self.confidence, strict=False)]
        more = ", ..." if len(self.names) > SHOWN else ""
        return printable(f"Answers({len(self.names)}: {', '.join(shown)}{more})")


class Recording(NamedTuple):
    """Every spike of N pictures, in steps of `encoder.dt`."""

    input: np.ndarray  # bool [N, T, I]
    excitatory: np.ndarray  # bool [N, T, E]
    inhibitory: np.ndarray  # bool [N, T, E]


@dataclass(frozen=True, repr=False)
class TrainedNetwork:
    """A network that has learned and whose neurons are labelled; `load` makes one. Nothing it does changes it."""

    settings: Settings  # of the run it comes from
    state: NetworkState  # weight[E, I], theta[E]
    labels: Labels  # label[E], mean_count[C, E]
    classes: tuple[str, ...]  # [C]
    engine: Engine
    first_layer: FirstLayer | None = None  # what it sees the pictures through; None: it sees the pixels

    def __repr__(self) -> str:
        settings, (n_exc, n_inputs) = self.settings, self.state.weight.shape
        sizes = f"{n_exc} neurons, {n_inputs} inputs, {len(self.classes)} classes of {settings.dataset.name}"
        return printable(
            f"TrainedNetwork({settings.rule.name} with {settings.neuron.name}: {sizes}; {settings.checkpoint})"
        )

    def classify(self, images: np.ndarray) -> Answers:
        """Present pictures with learning off and return the answers of the readout that the run was set to.

        The spikes of a picture depend on its pixels alone, not on its place or on the other pictures, so that the same
        picture always gets the same answer.

        Args:
            images: uint8 [N, height, width], [N, height * width], or [height, width] for one picture; bright strokes
                on black, as in the dataset.

        Raises:
            UserError: another type or another shape.
        """
        pixels = self._pixels(images)
        counts = self.engine.count_spikes(pixels, image_index(pixels))
        readout, score = self.settings.evaluator.readout, np.zeros((len(pixels), len(self.classes)))
        for part in slices(len(pixels)):
            score[part] = READOUTS[readout](counts[part], self.labels)
        class_index = answer(score)
        return Answers(
            class_index=class_index,
            names=tuple(self.classes[index] if index != NO_ANSWER else None for index in class_index),
            confidence=self.labels.calibration.get(readout, Calibration()).confidence(score),
            score=score,
            counts=counts,
            classes=self.classes,
        )

    @property
    def receptive_fields(self) -> np.ndarray:
        """The weights of each neuron as an image, [E, height, width]; of a second layer through the first."""
        weight, images = self.state.weight, self.settings.dataset
        in_image = weight if self.first_layer is None else weight @ self.first_layer.projection()
        return in_image.reshape(-1, images.height, images.width)

    def record(self, images: np.ndarray) -> Recording:
        """Present pictures with learning off and return every spike; arguments and errors as of `classify`.

        They are the spikes that `classify` counts, computed by the reference on torch tensors.
        """
        from stdp_run.engines.dense.recording import record_spikes  # torch, which takes seconds to import

        pixels = self._pixels(images)
        spikes = record_spikes(self.engine.model, self.state, pixels, image_index(pixels))
        return Recording(*spikes)

    def _pixels(self, images: np.ndarray) -> np.ndarray:
        """Return what the network sees of pictures, uint8 [N, I]."""
        pixels = self._flat(np.asarray(images))
        return pixels if self.first_layer is None else self.first_layer.seen(self.first_layer.counts(pixels))

    def _flat(self, images: np.ndarray) -> np.ndarray:
        height, width = self.settings.dataset.height, self.settings.dataset.width
        if images.dtype == np.uint8:
            if images.shape == (height, width):
                return images.reshape(1, -1)
            if images.ndim > 1 and images.shape[1:] in ((height, width), (height * width,)):
                return images.reshape(len(images), height * width)
        wanted = f"uint8 [N, {height}, {width}], [N, {height * width}] or [{height}, {width}]"
        raise UserError(f"images of type {images.dtype} and shape {list(images.shape)}: must be {wanted}")


def image_index(pixels: np.ndarray) -> np.ndarray:
    """Return what keys the random spikes of each of the pictures uint8 [N, I]: 31 bits of the CRC-32, [N] int64."""
    return np.array([zlib.crc32(row.tobytes()) & 0x7FFFFFFF for row in pixels], dtype=np.int64)


def load(path: str | Path, *, config_dir: str | Path | None = None, threads: int | None = None) -> TrainedNetwork:
    """Return the network that a finished run left. Nothing that belongs to the whole process is changed.

    Args:
        path: the run's directory, or the checkpoint.pt in it.
        config_dir: the folder with the code of a rule or a neuron group of one's own, which is then imported. It is
            needed once: until it has been named by this or by --config-dir, nothing from it is run.
        threads: how many pictures are presented side by side; None: as many as there are cores. A network that only
            the torch engine can run keeps to torch's own number of threads.

    Raises:
        UserError: there is no such file, it is damaged or no checkpoint, or its run had not finished.
    """
    or_null(whole_positive)("threads", threads)
    options = EngineOptions(device="cpu", threads=threads, learning=False)
    trained = read_trained(path, config_dir)
    state = trained.saved.state()
    return TrainedNetwork(
        settings=trained.settings,
        state=state,
        labels=trained.labels(),
        classes=trained.classes,
        engine=make_engine(trained.model, state, options),
        first_layer=trained.make_first_layer(options),
    )


class Trained(NamedTuple):
    """What a finished run left, checked."""

    saved: Checkpoint
    settings: Settings  # of the run, as for mode=eval
    model: Model
    first_layer: NetworkState | None  # what the first of two layers has learned

    def make_first_layer(self, options: EngineOptions) -> FirstLayer | None:
        """Return the first of two layers."""
        return None if self.first_layer is None else make_first_layer(self.settings, self.first_layer, options)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, [C]."""
        return tuple(self.saved.extra["classes"])

    def labels(self) -> Labels:
        """Return the neurons' labels, with the calibration of the readouts."""
        extra = self.saved.extra
        calibration = {name: Calibration(*each) for name, each in extra.get("calibration", {}).items()}
        if not calibration:
            log.warning("checkpoint without calibration: confidence is only the answer's share of the scores")
        return Labels(extra["label"], extra["mean_count"], calibration)


def read_trained(path: str | Path, config_dir: str | Path | None = None) -> Trained:
    """Return the network of a finished run, given its directory or the file; arguments and errors as for `load`."""
    if not isinstance(path, str | Path) or not str(path):
        raise UserError.bad_value("checkpoint", path, f"the directory of a finished run, or the {CHECKPOINT} in it")
    file = Path(path)
    if os.path.isdir(file):
        file = file / CHECKPOINT
        if not file.exists():
            raise UserError.bad_value("checkpoint", path, f"a finished run: there is no {CHECKPOINT} in this folder")
    saved = checkpoint.load(file)
    if not {"label", "mean_count", "classes"} <= set(saved.extra):
        raise UserError.bad_value(
            "checkpoint", path, f"the {CHECKPOINT} of a finished run: the neurons of this one are not labelled yet"
        )
    named = {} if config_dir is None else {"config_dir": name_folder(config_dir)}
    try:
        settings = read_settings({**saved.config, "mode": "eval", "checkpoint": str(path), **named})
        model, first_model = build_model(settings), build_first_layer(settings)
    except (UserError, RecursionError) as error:
        raise UserError(f"checkpoint={path}: {error}") from error
    saved.check_trained(model, path)
    return Trained(saved, settings, model, saved.first_layer(first_model, path) if first_model else None)


class Learned(NamedTuple):
    """A first layer that has learned."""

    settings: Settings  # of its network
    state: NetworkState


def learned_in(run: str, config_dir: str | None) -> Learned:
    """Return the first layer of a run: its own, or where it has one layer that layer.

    Raises:
        UserError: there is no finished run, or it cannot be read.
    """
    inner = Path(run) / FIRST_LAYER_FOLDER
    try:
        trained = read_trained(inner if inner.is_dir() else run, config_dir)
    except UserError as error:
        raise UserError(str(error).replace("checkpoint=", "first_layer.run=", 1)) from error
    layer = trained.settings.first_layer
    if layer is None or trained.first_layer is None:
        return Learned(trained.settings, trained.saved.state())
    return Learned(layer.network, trained.first_layer)
