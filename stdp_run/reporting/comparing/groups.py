"""From runs to groups of the same settings, and their accuracy over seeds."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from stdp_run.evaluation.metrics import wilson_interval
from stdp_run.reporting.comparing.runs import Run, is_number

# What says nothing about a result: where a run lies, how it is watched, saved and continued.
IGNORED = {
    *("mode", "resume", "threads", "images", "csv", "to", "dir"),
    *("trainer.log_every", "trainer.label_window", "trainer.evaluate_every", "trainer.plot_every"),
}
IGNORED_START = ("checkpoint", "trainer.checkpoint")
NAMES = ("rule.name", "neuron.name", "dataset.name")
# Sections whose values come with a rule, a neuron group, their pairing or a dataset.
SECTIONS = ("rule.", "neuron.", "dataset.", "encoder.", "trainer.")


class _NotSet:
    def __repr__(self) -> str:
        return ""


NOT_SET = _NotSet()  # the value of a setting that a run does not have


@dataclass(frozen=True)
class Spread:
    """Accuracies over seeds, as fractions of 1."""

    mean: float
    deviation: float | None  # standard deviation of the sample; None for a single seed
    low: float
    high: float


@dataclass(frozen=True)
class Group:
    """The finished runs with the same settings but for the seed.

    A seed that was run more than once counts once, with the mean of its runs.
    """

    settings: dict[str, object]  # the settings that differ between groups, by dotted key
    runs: tuple[Run, ...]

    @cached_property
    def seeds(self) -> tuple[int | str, ...]:
        """The different seeds, in order."""
        return tuple(sorted({run.seed for run in self.runs}, key=lambda seed: (isinstance(seed, str), seed)))

    @property
    def readout(self) -> str:
        """The readout that the runs are judged by."""
        return self.runs[0].result["readout"]

    def accuracies(self, readout: str) -> list[float]:
        """Return the accuracy of each seed, fractions of 1; runs that lack the readout are left out."""
        found = []
        for seed in self.seeds:
            results = [run.result["accuracy"] for run in self.runs if run.seed == seed]
            values = [accuracy[readout] for accuracy in results if readout in accuracy]
            found += [statistics.mean(values)] if values else []
        return found

    def spread(self, readout: str) -> Spread | None:
        """Return the accuracy over seeds; None if no run has the readout."""
        values = self.accuracies(readout)
        if not values:
            return None
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return Spread(statistics.mean(values), deviation, min(values), max(values))

    @cached_property
    def accuracy(self) -> Spread:
        """The accuracy, over seeds, of the readout that the runs are judged by."""
        return self.spread(self.readout)

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval of a single run's accuracy, from the number of its test images; None for several seeds."""
        n_images = self.runs[0].result.get("test_images")
        if len(self.seeds) > 1 or not is_number(n_images) or n_images < 1:
            return None
        return wilson_interval(round(self.accuracy.mean * n_images), n_images)

    @property
    def images_per_second(self) -> float | None:
        """The mean rate of learning, images/s."""
        return self._mean_of("train_images_per_second")

    @property
    def wall_seconds(self) -> float | None:
        """The mean time that a run took, s."""
        return self._mean_of("wall_seconds")

    def _mean_of(self, key: str) -> float | None:
        values = [run.result[key] for run in self.runs if is_number(run.result.get(key))]
        return statistics.mean(values) if values else None


@dataclass(frozen=True)
class Comparison:
    """Settings, best first, and what became of every run."""

    keys: tuple[str, ...]  # the settings that differ between groups
    groups: tuple[Group, ...]  # by mean accuracy of the readout that the runs are judged by, highest first
    readouts: tuple[str, ...]  # of all runs; the one that most runs are judged by comes first
    unfinished: tuple[Run, ...]
    failed: tuple[Run, ...]

    @property
    def runs(self) -> list[Run]:
        """The finished runs, in the order of their groups."""
        return [run for group in self.groups for run in group.runs]

    @property
    def readout(self) -> str | None:
        """The readout that all runs are judged by; None where they differ."""
        readouts = {group.readout for group in self.groups}
        return readouts.pop() if len(readouts) == 1 else None

    @property
    def measure(self) -> str:
        """What the accuracy was measured on, such as "test accuracy"; "accuracy" where runs differ in it."""
        splits = {str(run.result.get("split", "")) for run in self.runs}
        return f"{splits.pop()} accuracy".strip() if len(splits) == 1 else "accuracy"


def compare(runs: Iterable[Run]) -> Comparison:
    """Return finished runs grouped by all settings but the seed, best mean accuracy first, and the other runs.

    Groups of the same accuracy stay in the order of the runs. A key that differs only because rule, neuron group or
    dataset do is not listed among the settings that differ.
    """
    runs = list(runs)
    finished = [run for run in runs if run.result is not None]
    differing = [key for key in _keys(finished) if _differs(finished, key)]
    shown = tuple(key for key in differing if not _comes_with_names(finished, key, differing))
    groups: dict[tuple, list[Run]] = {}
    for run in finished:
        groups.setdefault(tuple(_comparable(_value(run, key)) for key in differing), []).append(run)
    made = [Group({key: _value(members[0], key) for key in shown}, tuple(members)) for members in groups.values()]
    return Comparison(
        keys=shown,
        groups=tuple(sorted(made, key=lambda group: -group.accuracy.mean)),
        readouts=_readouts(finished),
        unfinished=tuple(run for run in runs if run.result is None and not run.failed),
        failed=tuple(run for run in runs if run.failed),
    )


def _keys(runs: Sequence[Run]) -> list[str]:
    """Return the keys that may matter: names first, then as in the settings."""
    keys = dict.fromkeys(NAMES)
    keys.update(dict.fromkeys(key for run in runs for key in run.settings))
    return [key for key in keys if key not in IGNORED | {"seed"} and not key.startswith(IGNORED_START)]


def _value(run: Run, key: str) -> object:
    return run.settings.get(key, NOT_SET)


def _comparable(value: object) -> tuple:
    """Return what two values that are the same setting share: 1 and 1.0 do, 1 and true do not."""
    return ("number", value) if is_number(value) else (type(value).__name__, repr(value))


def _differs(runs: Sequence[Run], key: str) -> bool:
    return len({_comparable(_value(run, key)) for run in runs}) > 1


def _comes_with_names(runs: Sequence[Run], key: str, differing: Sequence[str]) -> bool:
    """Return whether a key differs only because the rule, the neuron group or the dataset does.

    What the accuracy is measured on is always worth a column, and so is what no rule or dataset brings along.
    """
    if key in NAMES or key == "dataset.split" or not key.startswith(SECTIONS):
        return False
    if not any(name in differing for name in NAMES):
        return False
    found: dict[tuple, set] = {}
    for run in runs:
        names = tuple(_comparable(_value(run, name)) for name in NAMES)
        found.setdefault(names, set()).add(_comparable(_value(run, key)))
    return all(len(values) == 1 for values in found.values())


def _readouts(runs: Sequence[Run]) -> tuple[str, ...]:
    names = dict.fromkeys(name for run in runs for name in (run.result["readout"], *run.result["accuracy"]))
    judged_by = [run.result["readout"] for run in runs]
    return tuple(sorted(names, key=lambda name: -judged_by.count(name)))
