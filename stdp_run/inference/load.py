"""A trained network for use from Python: load it, classify pictures with it, export its arrays.

import stdp_run
network = stdp_run.load("outputs/DAY/RUN")
answers = network.classify(images)          # uint8 [N, 28, 28], bright strokes on black
answers.names, answers.confidence
"""

import importlib
import io
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stdp_run import files
from stdp_run.config.build import build_model, import_class
from stdp_run.config.schema import Settings, or_null, read_settings
from stdp_run.engines import make_engine
from stdp_run.errors import UserError
from stdp_run.evaluation.readouts import NO_ANSWER, READOUTS, Labels, answer, parts
from stdp_run.network import NetworkState
from stdp_run.parameters import whole_positive
from stdp_run.training import checkpoint

CHECKPOINT = "checkpoint.pt"
LAYOUT = "stdp-run export 1"
ENDINGS = (".safetensors", ".npz")


@dataclass(frozen=True)
class Answers:
    """What a network answers to N pictures."""

    class_index: np.ndarray  # [N] int64, place of the answer in `classes`; -1: no answer
    names: tuple[str | None, ...]  # [N] the name of the answer; None: no answer
    confidence: np.ndarray  # [N] float64, the answer's share of the scores of all classes, 0 to 1; 0: no answer
    score: np.ndarray  # [N, C] float64, the readout's score of each class
    counts: np.ndarray  # [N, E] int32, spikes of each excitatory neuron
    classes: tuple[str, ...]  # [C] the names of the classes


@dataclass(frozen=True)
class TrainedNetwork:
    """A network that has learned and whose neurons are labelled; `load` makes one. Nothing it does changes it."""

    settings: Settings  # of the run it comes from
    config: dict  # the same as plain containers, as the checkpoint keeps them
    state: NetworkState  # weight[E, I], theta[E]
    labels: Labels  # label[E], mean_count[C, E]
    classes: tuple[str, ...]  # [C]
    engine: object

    @property
    def height(self) -> int:
        """Height of the pictures that the network takes, pixels."""
        return self.settings.dataset.height

    @property
    def width(self) -> int:
        """Width of the pictures that the network takes, pixels."""
        return self.settings.dataset.width

    def classify(self, images: np.ndarray) -> Answers:
        """Show pictures with learning off and return the answers of the readout that the run was set to.

        The spikes of a picture depend on its pixels alone, not on its place or on the other pictures, so that the same
        picture always gets the same answer.

        Args:
            images: uint8 [N, height, width], [N, height * width], or [height, width] for one picture; bright strokes
                on black, as in the data set.

        Raises:
            UserError: another type or another shape.
        """
        pixels = self._flat(np.asarray(images))
        counts = self.engine.count_spikes(pixels, image_index(pixels))
        score = np.zeros((len(pixels), len(self.classes)))
        for part in parts(len(pixels)):
            score[part] = READOUTS[self.settings.evaluator.readout](counts[part], self.labels)
        class_index = answer(score)
        answered = class_index != NO_ANSWER
        total = score.sum(axis=1)
        return Answers(
            class_index=class_index,
            names=tuple(self.classes[index] if index != NO_ANSWER else None for index in class_index),
            confidence=np.where(answered, score.max(axis=1), 0) / np.where(answered, total, 1),
            score=score,
            counts=counts,
            classes=self.classes,
        )

    def _flat(self, images: np.ndarray) -> np.ndarray:
        height, width = self.height, self.width
        if images.dtype == np.uint8:
            if images.shape == (height, width):
                return images.reshape(1, -1)
            if images.ndim > 1 and images.shape[1:] in ((height, width), (height * width,)):
                return images.reshape(len(images), height * width)
        wanted = f"uint8 [N, {height}, {width}], [N, {height * width}] or [{height}, {width}]"
        raise UserError(f"images of type {images.dtype} and shape {list(images.shape)}: must be {wanted}")


def image_index(pixels: np.ndarray) -> np.ndarray:
    """Return the index that keys the random spikes of each picture, [N] int64: 31 bits of the CRC-32 of its pixels.

    Args:
        pixels: uint8 [N, I].
    """
    return np.array([zlib.crc32(row.tobytes()) & 0x7FFFFFFF for row in pixels], dtype=np.int64)


def load(path: str | Path, *, threads: int | None = None) -> TrainedNetwork:
    """Return the network that a finished run left.

    Args:
        path: the run's directory, or the checkpoint.pt in it.
        threads: how many pictures are looked at side by side; None: as many as there are cores.

    Raises:
        UserError: there is no such file, it is damaged or no checkpoint, or its run had not finished.
    """
    or_null(whole_positive)("threads", threads)
    saved, labels = _read(path)
    settings = read_settings({**saved.config, "mode": "eval", "checkpoint": str(path)})
    arrays = dict(saved.arrays)
    state = NetworkState(arrays.pop("weight"), arrays.pop("theta"), arrays)
    return TrainedNetwork(
        settings=settings,
        config=saved.config,
        state=state,
        labels=labels,
        classes=_class_names(saved, labels.n_classes),
        engine=make_engine(build_model(settings), state, device="cpu", threads=threads),
    )


def _read(path: str | Path) -> tuple[checkpoint.Checkpoint, Labels]:
    file = Path(path)
    if file.is_dir():
        file = file / CHECKPOINT
        if not file.exists():
            raise UserError.bad_value("checkpoint", path, f"a finished run: there is no {CHECKPOINT} in this folder")
    saved = checkpoint.load(file)
    if not {"label", "mean_count"} <= set(saved.extra):
        raise UserError.bad_value(
            "checkpoint", path, f"the {CHECKPOINT} of a finished run: the neurons of this one are not labelled yet"
        )
    return saved, Labels(saved.extra["label"], saved.extra["mean_count"])


def _class_names(saved: checkpoint.Checkpoint, n_classes: int) -> tuple[str, ...]:
    """Return the names that the checkpoint has, else those that the data set's class states, else the numbers."""
    names = saved.extra.get("classes")
    if names is None:
        from stdp_run.datasets import Dataset

        names = getattr(import_class("dataset", saved.config["dataset"]["_target_"], Dataset), "classes", ())
    return tuple(names) if len(names) == n_classes else tuple(str(index) for index in range(n_classes))


# ------------------------------------------------------------------------------------------------------------------


def export(path: str | Path, to: str | Path) -> Path:
    """Write a trained network's arrays to a file that other programs read; return its path.

    With E excitatory neurons, I inputs (the pixels of a picture, row by row) and C classes, both formats hold

        weight      [E, I]  float32 or float64, as learned; an integer network (post_pre_int): int32
        theta       [E]     float64, mV: a neuron fires above v_threshold + theta; integer network: int32, and theta is
                            the threshold itself
        label       [E]     int64, the class that a neuron stands for; -1: it never spiked
        mean_count  [C, E]  float64, mean spikes per picture of each class

    and, in .npz as arrays of text, in .safetensors as metadata in JSON,

        classes     [C]     the names of the classes
        settings            the settings of the run, one text in JSON: constants of the neurons, encoding, seed
        layout              "stdp-run export 1"

    The .npz loads with numpy.load without pickle. What a rule keeps for learning on is not in it: checkpoint.pt is.

    Args:
        path: a run's directory, or the checkpoint.pt in it.
        to: the file to write, ending in .safetensors (needs the package safetensors) or .npz.

    Raises:
        UserError: `path` as in `load`; `to` ends otherwise or cannot be written; safetensors is not installed.
    """
    ending = Path(to).suffix.lower()
    if ending not in ENDINGS:
        raise UserError.bad_value("to", to, f"a file that ends in {' or '.join(ENDINGS)}")
    serialise = _safetensors_bytes(to) if ending == ".safetensors" else _npz_bytes
    saved, labels = _read(path)
    arrays = {
        "weight": saved.arrays["weight"],
        "theta": saved.arrays["theta"],
        "label": labels.label,
        "mean_count": labels.mean_count,
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    classes = _class_names(saved, labels.n_classes)
    files.write_atomically(Path(to), serialise(arrays, list(classes), json.dumps(saved.config)))
    return Path(to)


def _npz_bytes(arrays: dict[str, np.ndarray], classes: list[str], settings: str) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays, classes=np.array(classes), settings=np.array(settings), layout=np.array(LAYOUT))
    return buffer.getvalue()


def _safetensors_bytes(to: str | Path):
    """Return the function that serialises; the package is asked for before any work is done."""
    try:
        save = importlib.import_module("safetensors.numpy").save
    except ImportError:
        raise UserError(
            f'to={to}: needs the package safetensors: pip install "stdp_run[export]", or use .npz'
        ) from None

    def serialise(arrays: dict[str, np.ndarray], classes: list[str], settings: str) -> bytes:
        return save(arrays, metadata={"classes": json.dumps(classes), "settings": settings, "layout": LAYOUT})

    return serialise
