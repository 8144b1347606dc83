"""Loads a trained network: `stdp_run.load("outputs/DAY/RUN").classify(images)`."""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stdp_run import checkpoint
from stdp_run.checkpoint import Checkpoint
from stdp_run.config.build import build_first_layer, build_model
from stdp_run.config.custom_code import name_folder
from stdp_run.config.schema import Settings, read_settings
from stdp_run.config.sections import one_of, or_null, threads_check
from stdp_run.encoding import in_pixels
from stdp_run.engines.base import Engine
from stdp_run.engines.selection import EngineOptions, make_engine
from stdp_run.errors import UserError, printable
from stdp_run.evaluation.calibration import Calibration
from stdp_run.evaluation.labels import Labels
from stdp_run.evaluation.metrics import slices
from stdp_run.evaluation.readouts import NO_ANSWER, READOUTS, answer
from stdp_run.inference.first_layer import FirstLayer, make_first_layer, views
from stdp_run.network import Model, NetworkState

CHECKPOINT = "checkpoint.pt"
FIRST_LAYER_FOLDER = "first_layer"  # folder in a run's directory for the run of its first layer


@dataclass(frozen=True, repr=False)
class Answers:
    """The answers of a network to N pictures."""

    class_index: np.ndarray  #: [N] int64, index of the answer in `classes`, or -1 without an answer
    names: tuple[str | None, ...]  #: [N] name of the answer, or None without an answer
    confidence: np.ndarray  #: [N] float64, calibrated probability that the answer is correct; 0 without an answer
    score: np.ndarray  #: [N, C] float64, the readout's score of each class
    counts: np.ndarray  #: [N, E] int32, spikes of each excitatory neuron
    classes: tuple[str, ...]  #: [C] names of the classes

    def __repr__(self) -> str:
        shown = [f"{name} ({share:.0%})" for name, share in zip(self.names[:10], self.confidence, strict=False)]
        more = ", ..." if len(self.names) > 10 else ""
        return printable(f"Answers({len(self.names)}: {', '.join(shown)}{more})")


class Recording(NamedTuple):
    """All spikes of N pictures, in steps of `encoder.dt`."""

    input: np.ndarray  #: bool [N, T, I]
    excitatory: np.ndarray  #: bool [N, T, E]
    inhibitory: np.ndarray  #: bool [N, T, E]


@dataclass(frozen=True, repr=False)
class TrainedNetwork:
    """A trained and labelled network, returned by `load`; classifying does not change it."""

    settings: Settings  #: settings of the run that trained it
    state: NetworkState  #: weight[E, I], theta[E]
    labels: Labels  #: label[E], mean_count[C, E]
    classes: tuple[str, ...]  #: [C] names of the classes
    engine: Engine
    first_layer: FirstLayer | None = None  #: the first of two layers, or None

    def __repr__(self) -> str:
        settings, (n_exc, n_inputs) = self.settings, self.state.weight.shape
        sizes = f"{n_exc} neurons, {n_inputs} inputs, {len(self.classes)} classes of {settings.dataset.name}"
        parts = f"{settings.rule.name} with {settings.neuron.name}"
        return printable(f"TrainedNetwork({parts}: {sizes}; {settings.checkpoint})")

    def classify(self, images: np.ndarray, readout: str | None = None) -> Answers:
        """Return the answers to pictures; an answer depends only on the pixels of its picture.

        Args:
            images: uint8 [N, height, width], [N, height * width], or [height, width] for one picture; bright strokes
                on black, as in the dataset.
            readout: name of the readout; None: that of the run.

        Raises:
            UserError: the images have another type or shape, or the readout is unknown.
        """
        readout = or_null(one_of(*READOUTS))("readout", readout) or self.settings.evaluator.readout
        pixels = self._pixels(images)
        counts = self.engine.count_spikes(pixels, image_index(pixels[0]))
        score = np.zeros((len(counts), len(self.classes)))
        for part in slices(len(counts)):
            score[part] = READOUTS[readout](counts[part], self.labels)
        class_index = answer(score)
        names = tuple(self.classes[index] if index != NO_ANSWER else None for index in class_index)
        confidence = self.labels.calibration.get(readout, Calibration()).confidence(score)
        return Answers(class_index, names, confidence, score, counts, self.classes)

    @property
    def receptive_fields(self) -> np.ndarray:
        """The weights of each neuron as an image, [E, height, width]; a second layer is drawn through the first."""
        weight, images = in_pixels(self.state.weight, self.engine.model.encoder), self.settings.dataset
        in_image = weight if self.first_layer is None else weight @ self.first_layer.projection()
        return in_image.reshape(-1, images.height, images.width)

    def record(self, images: np.ndarray) -> Recording:
        """Return all spikes of the first presentation of pictures, by the torch engine; arguments as in `classify`."""
        from stdp_run.engines.dense.presentation import record_spikes  # importing torch takes seconds

        pixels = self._pixels(images)[0]
        return Recording(*record_spikes(self.engine.model, self.state, pixels, image_index(pixels)))

    def _pixels(self, images: np.ndarray) -> np.ndarray:
        """Return the views to answer, uint8 [K, N, P]; raise UserError for images of another type or shape."""
        images, height, width = np.asarray(images), self.settings.dataset.height, self.settings.dataset.width
        allowed = images.shape == (height, width) or images.shape[1:] in ((height, width), (height * width,))
        if images.dtype != np.uint8 or not allowed:
            wanted = f"uint8 [N, {height}, {width}], [N, {height * width}] or [{height}, {width}]"
            raise UserError(f"images of type {images.dtype} and shape {list(images.shape)}: must be {wanted}")
        return views(images.reshape(-1, height * width), self.settings, self.first_layer)


def image_index(pixels: np.ndarray) -> np.ndarray:
    """Return the keys of the random spikes of pictures uint8 [N, P]: 31 bits of the CRC-32, int64 [N]."""
    return np.array([zlib.crc32(row.tobytes()) & 0x7FFFFFFF for row in pixels], dtype=np.int64)


def load(path: str | Path, *, config_dir: str | Path | None = None, threads: int | None = None) -> TrainedNetwork:
    """Return the trained network of a finished run; settings of the process do not change.

    Args:
        path: the run's directory, or the checkpoint.pt in it.
        config_dir: the folder with the code of a custom rule or neuron group.
        threads: number of threads that present pictures; None: one for each core. The torch engine uses torch's number.

    Raises:
        UserError: the file does not exist, is damaged or not a checkpoint, or its run had not finished.
    """
    or_null(threads_check)("threads", threads)
    options = EngineOptions(device="cpu", threads=threads, learning=False)
    if config_dir is not None:
        name_folder(config_dir)
    trained = read_trained(path)
    state = trained.saved.state()
    engine, first_layer = make_engine(trained.model, state, options), trained.make_first_layer(options)
    return TrainedNetwork(trained.settings, state, trained.labels, trained.classes, engine, first_layer)


class Trained(NamedTuple):
    """The checked network of a finished run."""

    saved: Checkpoint
    settings: Settings  # of the run, as for mode=eval
    model: Model
    labels: Labels
    classes: tuple[str, ...]  # [C]
    first_layer: NetworkState | None = None  # None: one layer

    def make_first_layer(self, options: EngineOptions) -> FirstLayer | None:
        """Return the first of two layers; None if there is one layer."""
        return None if self.first_layer is None else make_first_layer(self.settings, self.first_layer, options)


def checkpoint_file(path: str | Path) -> Path:
    """Return the checkpoint file of a run, given its directory or the file; raise UserError for a wrong path."""
    if not isinstance(path, str | Path) or not str(path):
        raise UserError.bad_value("checkpoint", path, f"the directory of a finished run, or the {CHECKPOINT} in it")
    if not os.path.isdir(path):
        return Path(path)
    file = Path(path, CHECKPOINT)
    if not file.exists():
        raise UserError.bad_value("checkpoint", path, f"a finished run: there is no {CHECKPOINT} in this folder")
    return file


def read_trained(path: str | Path) -> Trained:
    """Return the network of a finished run, given its directory or the file; errors as in `load`."""
    saved = checkpoint.load(checkpoint_file(path))
    if (stored := saved.labels) is None:
        raise UserError.bad_value("checkpoint", path, f"the {CHECKPOINT} of a finished run: this one has no labels yet")
    try:
        settings = read_settings({**saved.config, "mode": "eval", "checkpoint": str(path), "perturbation": None})
        model, first_model = build_model(settings), build_first_layer(settings)
        saved.check(model, first_model)
        calibration = {name: Calibration(*each) for name, each in stored["calibration"].items()}
        labels = Labels(stored["label"], stored["mean_count"], calibration)
        return Trained(saved, settings, model, labels, tuple(stored["classes"]), saved.first_state())
    except (UserError, RecursionError) as error:
        raise UserError(f"checkpoint={path}: {error}") from error
    except Exception as error:  # of any type: the content is untrusted
        raise checkpoint.not_of_a_run(path, error) from error


def learned_in(run: str) -> tuple[Settings, NetworkState]:
    """Return settings and state of the first or only layer of a finished run; raise UserError if there is no run."""
    inner = Path(run) / FIRST_LAYER_FOLDER
    try:
        trained = read_trained(inner if inner.is_dir() else run)
    except UserError as error:
        raise UserError(f"first_layer.run={run}: {error}") from error
    layer = trained.settings.first_layer
    if layer is None or trained.first_layer is None:
        return trained.settings, trained.saved.state()
    return layer.network, trained.first_layer
