"""`stdp_run.STDPClassifier`: a network as an estimator of scikit-learn, from arrays in memory."""

import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from omegaconf import open_dict

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data
except ImportError as error:
    raise ImportError(f'STDPClassifier needs scikit-learn 1.6: pip install "stdp-run[sklearn]" ({error})') from None

from stdp_run import checkpoint
from stdp_run.checkpoint import Checkpoint
from stdp_run.cli.python import as_override, composed
from stdp_run.config.compatibility import OPERATIONAL, flat, within
from stdp_run.config.custom_code import name_folder
from stdp_run.config.schema import Settings, read_settings, resolved
from stdp_run.datasets.arrays import as_pixels, image_size
from stdp_run.encoding import image_order, in_pixels
from stdp_run.engines.base import Array
from stdp_run.errors import UserError
from stdp_run.estimator.network import Network, learn, make_network, new_network, parts
from stdp_run.evaluation.calibration import Calibration
from stdp_run.evaluation.labels import Labels
from stdp_run.evaluation.metrics import label_neurons, slices
from stdp_run.evaluation.readouts import READOUTS
from stdp_run.inference.load import CHECKPOINT, read_trained
from stdp_run.training.order import schedules
from stdp_run.training.run_directory import RunDirectory

NAMED = ("n_exc", "rule", "neuron", "experiment", "epochs", "seed")  # parameters; None: not given


class STDPClassifier(ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator):
    """A network of spiking neurons that learns from X alone, by STDP; y labels its neurons afterwards.

    X is uint8 (255 is the brightest), or floats from 0 to 1, [N, H, W] or [N, I]. Inputs I are a square image if I is a
    square number. Equal settings, seed and order of images give the weights of `stdp-run` to the last bit.

    Args:
        n_exc, rule, neuron, experiment, epochs, seed: as on the command line; None: the preset's value, or the default.
        overrides: other settings of the command line, with two underscores for a dot, such as `encoder__steps=150`;
            also `config_dir`, the folder of custom rules and neuron groups. Settings of a run's images, logs and
            checkpoints have no effect.

    Changed parameters take effect at the next `fit`.

    Attributes:
        weights_: [E, I] from input to excitatory neuron; integers with an integer rule.
        theta_: float64 [E], mV, adaptive part of the threshold; integers with an integer rule.
        labels_: int64 [E], index in `classes_` of each neuron's class; -1: it never spiked.
        classes_: [C], the sorted classes of y.
        receptive_fields_: [E, H, W], weights as images; a second layer is drawn through the first.
        n_images_seen_: number of images learned from, over all epochs.

    Raises:
        ValueError: X, y or a setting is not allowed.
        NotFittedError: `fit`, or `label`, must be called before.
    """

    _size: tuple[int, int]  # height and width of the images

    def __init__(self, n_exc=None, rule=None, neuron=None, experiment=None, epochs=None, seed=None, **overrides):
        self.n_exc = n_exc
        self.rule = rule
        self.neuron = neuron
        self.experiment = experiment
        self.epochs = epochs
        self.seed = seed
        self.set_params(**overrides)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, with the overrides, by name."""
        return {name: each for name, each in self.__dict__.items() if name[0] != "_" and name[-1] != "_"}

    def set_params(self, **params: Any) -> Self:
        """Set parameters and overrides, whose values `fit` checks; raise ValueError for an impossible name."""
        for name in params:
            if name[0] == "_" or name[-1] == "_" or not name.isidentifier() or hasattr(type(self), name):
                raise ValueError(f"{name}: must be a setting of stdp-run, such as n_exc or encoder__steps")
        self.__dict__.update(params)
        return self

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from images X, from the start; then label the neurons by their classes y [N], if these are given."""
        pixels, y = self._checked(X, y, reset=True)
        with _as_value_errors():
            settings = self._configured()
            if y is None and settings.trainer.order == "by_class":
                raise ValueError("trainer__order='by_class' needs y")
            running = new_network(settings, pixels)
        learn(running.engine, settings, running.learned(pixels), y)
        self._keep(running, len(pixels) * settings.epochs)
        for name in ("_labels", "labels_", "classes_"):  # of an earlier fit
            self.__dict__.pop(name, None)
        self._progress = 1.0
        return self if y is None else self._label(pixels, y)

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None) -> Self:
        """Learn from images X once, in their order, after those of earlier calls. y and classes are ignored.

        Labels stay as they are until `label` is called. Schedules, such as that of the learning rate, stay at their end
        after `fit`, else at their start.
        The first of two layers learns from the first images only.
        """
        begins = not hasattr(self, "_saved")
        pixels, _ = self._checked(X, None, reset=begins)
        if begins:
            with _as_value_errors():
                running, self._progress, seen = new_network(self._configured(), pixels), 0.0, 0
        else:
            running, seen = self._running(), self.n_images_seen_
        options, k_winners = running.settings.trainer, running.settings.k_winners
        index, inputs = seen + np.arange(len(pixels)), running.learned(pixels)
        for part in parts(running.settings, len(pixels)):
            factors = schedules(options, k_winners, np.full(len(index[part]), self._progress))
            running.engine.learn(inputs[part], index[part], 0, *factors)
        return self._keep(running, seen + len(pixels))

    def label(self, X: Any, y: Any) -> Self:
        """Label the neurons by their answers to images X of classes y [N], in place of earlier labels."""
        self._running()
        pixels, y = self._checked(X, y, reset=False)
        if y is None:
            raise ValueError("label needs y, the class of each image")
        return self._label(pixels, y)

    def predict(self, X: Any) -> Array:
        """Return the class of each image, [N]; the first class for an image that evokes no spikes."""
        score = self._score(X)
        return self.classes_[score.argmax(axis=1)]

    def predict_proba(self, X: Any) -> Array:
        """Return the calibrated probability of each class, [N, C]; equal ones for an image that evokes no spikes."""
        score, readout = self._score(X), self._running().settings.evaluator.readout
        found = self._given_labels().calibration.get(readout, Calibration()).probability(score)
        return np.where(found.any(axis=1, keepdims=True), found, 1 / len(self.classes_))

    def transform(self, X: Any) -> Array:
        """Return the spike counts of the excitatory neurons, int32 [N, E]."""
        running = self._running()
        pixels, _ = self._checked(X, None, reset=False)
        return np.concatenate([running.counts(pixels[part]) for part in slices(len(pixels))])

    @property
    def receptive_fields_(self) -> Array:
        running = self._running()
        weight, layer = in_pixels(self.weights_, running.engine.model.encoder), running.first_layer
        return (weight if layer is None else weight @ layer.projection()).reshape(-1, *self._size)

    def save(self, directory: str | Path) -> None:
        """Write a run that the command line can evaluate, predict with and export; raise ValueError if one is there."""
        running, labels, folder = self._running(), self._given_labels(), Path(directory)
        if (folder / CHECKPOINT).exists():
            raise ValueError(f"{folder}: contains a run; choose another directory")
        folder.mkdir(parents=True, exist_ok=True)
        stored = labels.stored([str(each) for each in self.classes_])
        with _as_value_errors():
            RunDirectory(folder).write_config(running.settings)
            checkpoint.save(folder / CHECKPOINT, replace(self._saved, labels=stored))

    @classmethod
    def load(cls, run: str | Path, config_dir: str | Path | None = None) -> Self:
        """Return the network of a finished run, from its directory; classes are numbers or bools if all names are."""
        with _as_value_errors():
            if config_dir is not None:
                name_folder(config_dir)
            found = read_trained(run)
            settings, record = found.settings, found.saved.config
            named = {key: getattr(settings, key) for key in ("n_exc", "epochs", "seed")}
            named |= {key: getattr(settings, key).name for key in ("rule", "neuron")}
            optional = {"config_dir": config_dir, "first_layer": "patches" if settings.first_layer else None}
            estimator = cls(**named, **{key: each for key, each in optional.items() if each is not None})
            estimator._size = settings.dataset.height, settings.dataset.width
            usual = flat(estimator._configured().record)
            changed = {key: each for key, each in flat(record).items() if each != usual.get(key, each)}
            for key, each in changed.items():
                if not within(key, *OPERATIONAL, "n_train", "n_test", "dataset", "first_layer.dataset.of"):
                    estimator.__dict__[key.replace(".", "__")] = each
        estimator.classes_ = _from_names(found.classes)
        estimator._labels, estimator.labels_ = found.labels, found.labels.label
        estimator._saved, estimator._progress = replace(found.saved, config=record, progress=None), 1.0
        estimator.n_features_in_ = settings.dataset.n_inputs
        return estimator._keep(estimator._running(), found.saved.global_step)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the engine, which `_running` makes again."""
        return {name: each for name, each in super().__getstate__().items() if name != "_network"}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.input_tags.positive_only = tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = []
        tags.classifier_tags.poor_score = True  # scikit-learn tests the score on points in a plane, which are no images
        return tags

    @property
    def _n_features_out(self) -> int:
        return len(self.theta_)

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[Array, Any]:
        """Return images as uint8 [N, H * W], and their classes [N], or None without y."""
        shape = X.shape if getattr(X, "ndim", 2) == 3 else None
        if shape is not None:
            X = np.reshape(X, (shape[0], shape[1] * shape[2]))
        X, y = (validate_data(self, X, reset=reset), None) if y is None else validate_data(self, X, y, reset=reset)
        if shape is not None and not reset and shape[1:] != self._size:
            raise ValueError(f"X has images of {list(shape[1:])}; must be {list(self._size)}, as learned")
        if y is not None:
            check_classification_targets(y)
            if len(np.unique(y)) < 2:
                raise ValueError(f"y has one class, {y[0]}; must have two or more")
        check_non_negative(X, "X")
        try:
            pixels = as_pixels(X)
        except ValueError as error:
            raise ValueError(f"X has {error}") from None
        if reset:
            self._size = image_size(shape or X.shape)
        return pixels, y

    def _configured(self) -> Settings:
        """Return the settings of the parameters, for images of the size of X; raise UserError for a wrong one."""
        given = {key.replace("__", "."): each for key, each in self.get_params().items()}
        config_dir = given.pop("config_dir", None)
        arguments = [
            f"{key}={as_override(key, each)}" for key, each in given.items() if each is not None or key not in NAMED
        ]
        height, width = self._size
        arguments += ["dataset=arrays", f"dataset.height={height}", f"dataset.width={width}"]
        record = _record.__wrapped__ if config_dir else _record  # files of custom classes may change
        return read_settings(record(tuple(arguments), config_dir))

    def _keep(self, running: Network, n_images: int) -> Self:
        """Keep the state of a network after `n_images` images."""
        state, layer = running.engine.state(), running.first_layer
        for name, array in state.arrays().items():
            if not np.isfinite(array).all():
                raise ValueError(f"{name} is not finite after {n_images} images; a constant is too large")
        self._network = running
        self._saved = Checkpoint(
            config=running.settings.record,
            engine=list(running.choice),
            state_dict=state.arrays(),
            global_step=n_images,
            first_layer=None if layer is None else layer.state.arrays(),
        )
        self.weights_, self.theta_, self.n_images_seen_ = state.weight, state.theta, n_images
        return self

    def _running(self) -> Network:
        """Return the network, made again after unpickling; raise NotFittedError if nothing was learned."""
        check_is_fitted(self, "_saved")
        if not hasattr(self, "_network"):
            saved = self._saved
            self._network = make_network(read_settings(saved.config), saved.state(), saved.first_state())
        return self._network

    def _label(self, pixels: Array, y: Array) -> Self:
        """Label the neurons by images uint8 [N, H * W] of classes y [N]."""
        running = self._running()
        self.classes_, classes = np.unique(y, return_inverse=True)
        # The order is mixed, since the last images calibrate and their classes must be among the others.
        chosen = image_order(len(pixels), 0, running.settings.seed)[: running.settings.n_label]

        def count(part: slice) -> Array:
            return running.engine.count_spikes(running.views(pixels[chosen[part]]), chosen[part])

        self._labels = label_neurons(count, classes[chosen], len(self.classes_))
        self.labels_ = self._labels.label
        return self

    def _given_labels(self) -> Labels:
        if not hasattr(self, "_labels"):
            raise NotFittedError("this network has no labels yet; call label(X, y), or fit(X, y)")
        return self._labels

    def _score(self, X: Any) -> Array:
        """Return the score of each class, [N, C]."""
        running, labels = self._running(), self._given_labels()
        pixels, _ = self._checked(X, None, reset=False)
        readout = READOUTS[running.settings.evaluator.readout]
        return np.concatenate([readout(running.counts(pixels[part]), labels) for part in slices(len(pixels))])


def _from_names(names: Sequence[str]) -> Array:
    """Return classes by their names: numbers or truth values if all names are, else texts."""
    try:
        values = [ast.literal_eval(name) for name in names]
    except (ValueError, SyntaxError):
        return np.array(names)
    exact = all(isinstance(each, int | float) and str(each) == name for each, name in zip(values, names, strict=True))
    return np.array(values if exact else names)


@contextmanager
def _as_value_errors() -> Iterator[None]:
    """Context that raises errors of settings as scikit-learn does."""
    try:
        yield
    except UserError as error:
        raise ValueError(str(error)) from None


@lru_cache
def _record(arguments: tuple[str, ...], config_dir: str | Path | None) -> dict[str, Any]:
    """Return the resolved config of a command; it is kept, as composing takes longer than learning from few images."""
    config = composed([*arguments], config_dir)
    with open_dict(config):
        del config["hydra"]
    return resolved(config)
