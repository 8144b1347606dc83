"""What a command asks for: to learn, begun or gone on with, or one of the things that are done with networks later."""

import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from stdp_run import files
from stdp_run.config.compatibility import config_to_evaluate, config_to_go_on
from stdp_run.config.settings import Settings, as_yaml, build_model, read_settings, resolve
from stdp_run.config.variants import variants
from stdp_run.datasets.selection import load_images
from stdp_run.engines import make_networks
from stdp_run.errors import UserError
from stdp_run.evaluation.labels import Labels
from stdp_run.reporting import result as results
from stdp_run.reporting.report import write_report
from stdp_run.training import checkpoint
from stdp_run.training.checkpoint import Checkpoint
from stdp_run.training.run import LearningRuns, engine_options, measure, state_of
from stdp_run.training.run_directory import RunDirectory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Invocation:
    """How a run was started, apart from its settings."""

    explicit: tuple[str, ...] = ()  # the keys that were given on the command line
    job: int | None = None  # number of the job in its sweep
    bars: bool = True  # progress bars may be shown

    @property
    def in_sweep(self) -> bool:
        """Whether it is one of the jobs of a sweep."""
        return self.job is not None


def run(config, directory: Path, invocation: Invocation = Invocation()) -> float:
    """Do what the composed `config` asks for; return the accuracy that was reached, or 0.

    Args:
        config: the composed configuration.
        directory: where a run writes, or goes on.
        invocation: how it was started.

    Raises:
        UserError: something that was asked for cannot be had.
    """
    resolved = resolve(config)
    settings = read_settings(resolved)
    if settings.mode == "train":
        return learn(config, RunDirectory(directory), invocation)
    if settings.mode == "eval":
        return evaluate_checkpoint(resolved, settings, directory, invocation)
    return _OTHER_MODES[settings.mode](settings, directory)


def _predict(settings: Settings, _: Path) -> float:
    from stdp_run.commands.predict import predict

    broken = predict(settings.checkpoint, settings.images, settings.csv, print, settings.threads).broken
    if broken:
        raise UserError(f"images={settings.images}: {len(broken)} could not be read, named above")
    return 0.0


def _export(settings: Settings, _: Path) -> float:
    from stdp_run.inference.export import export

    export(settings.checkpoint, settings.to)
    log.info("%s: weights, thresholds and labels of %s", settings.to, settings.checkpoint)
    return 0.0


def _compare(settings: Settings, _: Path) -> float:
    from stdp_run.reporting.comparing import to_text, write_comparison

    print(to_text(write_comparison(Path(settings.dir))))
    return 0.0


def _draw_windows(settings: Settings, directory: Path) -> float:
    from stdp_run.commands.stdp_window import draw_windows

    draw_windows(settings, directory)
    return 0.0


_OTHER_MODES: Mapping[str, Callable[[Settings, Path], float]] = {
    "predict": _predict,
    "export": _export,
    "compare": _compare,
    "window": _draw_windows,
}


# ------------------------------------------------------------------------------------------------------------------
# Learning.


def learn(config, directory: RunDirectory, invocation: Invocation) -> float:
    """Learn, label, evaluate, and write the results, from where the run in the directory is; return the accuracy.

    With several networks side by side it is their mean, and each has a run of its own in a directory below.

    Raises:
        UserError: another process is at work there, or what is there was made with other settings.
    """
    asked = resolve(config)
    with directory.locked(wait=invocation.in_sweep):
        there = directory.config()
        goes_on_there = there is not None and asked["resume"] not in ("auto", None)
        if (there if goes_on_there else asked).get("networks", 1) > 1:
            return _learn_side_by_side(config, directory, invocation)
        [result] = _complete([asked], [directory], directory.path, invocation)
        print(results.summary_table(result, directory.path))
        return result["test_accuracy"]


def _learn_side_by_side(config, directory: RunDirectory, invocation: Invocation) -> float:
    from stdp_run.reporting.comparing import to_text, write_comparison

    asked = resolve(config)
    whole = _as_it_goes_on(asked, directory, directory.config(), invocation)
    # References are resolved for each network apart; a run that goes on by its own config has none left.
    found = variants(config if whole is asked else whole)
    if not directory.holds_run():
        files.write_atomically(directory.path / "config.yaml", as_yaml(whole).encode())
    directories = [RunDirectory(directory.path / each.name) for each in found]
    with ExitStack() as locks:
        for each in directories:
            each.path.mkdir(exist_ok=True)
            locks.enter_context(each.locked(wait=invocation.in_sweep))
        reached = _complete([each.config for each in found], directories, directory.path, invocation)
    print(to_text(write_comparison(directory.path)))
    print(f"\nresults  {results.shown_path(directory.path)}")
    return statistics.mean(result["test_accuracy"] for result in reached)


def _complete(
    configs: Sequence[dict], directories: Sequence[RunDirectory], place: Path, invocation: Invocation
) -> list[dict]:
    """Bring the runs in the directories, which are locked, to their end, in step; return their results.

    `place` is the directory that `resume` is given to go on with all of them.
    """
    reached: list[dict | None] = []
    unfinished: list[tuple[dict, RunDirectory, Checkpoint | None]] = []
    for config, directory in zip(configs, directories, strict=True):
        result = directory.result()
        saved = directory.newest() if result is None else None
        config = _as_it_goes_on(config, directory, directory.config() if saved is None else saved.config, invocation)
        reached.append(result)
        if result is not None:
            log.info("%s: this run is complete; nothing to do", directory.path)
            continue
        unfinished.append((config, directory, saved))
    for config, directory, saved in unfinished:
        if saved is None:
            directory.clear()
            files.write_atomically(directory.path / "config.yaml", as_yaml(config).encode())
    if unfinished:
        runs = LearningRuns(*zip(*unfinished, strict=True), place, invocation.job, invocation.bars)
        made = iter(runs.complete())
        reached = [next(made) if result is None else result for result in reached]
    for directory in directories:
        if not (directory.path / "report.html").exists():
            write_report(directory.path)
    return reached


def _as_it_goes_on(config: dict, directory: RunDirectory, there: dict | None, invocation: Invocation) -> dict:
    """Return the config with which the run in the directory goes on; the command's own where there is none."""
    if there is None or not (directory.holds_run() or config["resume"] not in ("auto", None)):
        return config
    return config_to_go_on(config, there, directory.path, invocation.explicit)


# ------------------------------------------------------------------------------------------------------------------
# Evaluating.


def evaluate_checkpoint(config: dict, settings: Settings, directory: Path, invocation: Invocation) -> float:
    """Evaluate the network of an earlier run again, on its data or on what the command names; return the accuracy.

    Raises:
        UserError: the checkpoint cannot be read, holds no labels, or was made with other settings than the command's.
    """
    begun = time.perf_counter()
    saved = checkpoint.load(Path(settings.checkpoint))
    if "label" not in saved.extra:
        raise UserError(f"checkpoint={settings.checkpoint}: of a run on its way, without labels; resume it first")
    config = config_to_evaluate(config, saved.config, settings.checkpoint, invocation.explicit)
    settings = read_settings(config)
    model = build_model(settings)
    if model.n_inputs != saved.arrays["weight"].shape[1]:
        there = saved.arrays["weight"].shape[1]
        raise UserError(f"dataset={settings.dataset['name']}: {model.n_inputs} pixels; the network has {there} inputs")
    files.write_atomically(directory / "config.yaml", as_yaml(config).encode())
    networks = make_networks([model], [state_of(saved)], **engine_options(settings), gpu=invocation.job)
    data = load_images(settings)
    labels = Labels(saved.extra["label"], saved.extra["mean_count"])
    if len(data.classes) != labels.n_classes:
        raise UserError(
            f"dataset={settings.dataset['name']}: {len(data.classes)} classes; the network knows {labels.n_classes}"
        )
    [final] = measure(networks, [0], [labels], data, invocation.bars, lambda: None)
    result = results.describe(settings, networks, model, labels, final, data, time.perf_counter() - begun)
    result["train_images_per_second"] = None
    results.write_result(directory, result)
    print(results.summary_table(result, directory))
    return result["test_accuracy"]
