"""Functions that Hydra calls: for the names of folders, for each run or job of a sweep, and at the end of a sweep."""

import logging
import math
import re
import sys
import traceback
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from stdp_run.cli.messages import explained
from stdp_run.cli.overrides import key_of
from stdp_run.commands import Invocation, run
from stdp_run.config.build import conf_folder
from stdp_run.config.custom_code import name_folder
from stdp_run.errors import UserError
from stdp_run.training.signals import Stopped, end_at_stop_signals

JOB_FAILED, BAD_INPUT = 1, 2

log = logging.getLogger(__name__)

LONGEST_NAME = 90
# Keys that change no result: a sweep can be resumed with other values, unless it sweeps them.
UNNAMED = ("resume", "threads", "trainer.checkpoint_every", "trainer.checkpoint_seconds")

# The file tuned.yaml is a config group; each of its keys is a choice.
TUNED = OmegaConf.load(conf_folder() / "tuned.yaml")
for choice, constants in TUNED.items():
    ConfigStore.instance().store(str(choice), constants, group="tuned", package="_global_", provider="stdp_run")


def job(config: DictConfig) -> float:
    """Run one experiment in Hydra's output directory; return its accuracy, which a sweeper can maximise.

    A failed job of a sweep writes the reason to `error.txt`. The other jobs continue.
    """
    logging.raiseExceptions = False  # on a full disk, logging would print a traceback for every line of run.log
    hydra_config, invocation = HydraConfig.get(), None
    if "Joblib" in hydra_config.launcher._target_:  # a worker process
        end_at_stop_signals()
    directory, in_sweep = Path(hydra_config.runtime.output_dir), hydra_config.mode == RunMode.MULTIRUN
    try:
        invocation = invocation_of(config, hydra_config)
        accuracy = run(config, invocation)
        if in_sweep:
            (directory / "error.txt").unlink(missing_ok=True)
        return accuracy
    except Stopped as stopped:
        sys.exit(128 + stopped.signal)
    except Exception as error:
        message = explained(error, directory)
        if message is None:
            traceback.print_exc()
        line = message or repr(error)
        print(f"stdp-run: error: {line}", file=sys.stderr)
        if not in_sweep:
            sys.exit(JOB_FAILED if message is None else BAD_INPUT)
        with suppress(OSError, UserError):
            (directory / "error.txt").write_text(f"{line}\n", encoding="utf-8")
            if invocation and not (directory / ".hydra").exists():
                with invocation.accepted():  # mode=compare reads the settings in .hydra
                    log.debug("%s", line)
        if "basic" not in hydra_config.sweeper._target_:
            raise  # Optuna counts the failure
        return math.nan
    finally:
        remove_if_empty(directory)


def invocation_of(config: DictConfig, hydra_config: HydraConf) -> Invocation:
    """Return the invocation of a composed command, and register its --config-dir; errors as in `tuning`."""
    sources = [source for source in hydra_config.runtime.config_sources if source.schema == "file"]
    for source in sources:
        if source.provider == "command-line":
            name_folder(source.path)
    folders, choices = [Path(source.path) for source in sources], hydra_config.runtime.choices
    for group, choice in choices.items():
        files = [file for folder in folders if (file := folder / group / f"{choice}.yaml").is_file()]
        if len(files) > 1:
            log.warning("%s=%s: %s is read, not %s; rename the second file", group, choice, *files[:2])
    in_sweep, overrides = hydra_config.mode == RunMode.MULTIRUN, hydra_config.overrides.task
    explicit = tuple(map(key_of, overrides))
    record = {"config": config, "hydra": {"hydra": hydra_config}, "overrides": overrides}
    return Invocation(
        Path(hydra_config.runtime.output_dir),
        explicit=explicit,
        job=hydra_config.job.num if in_sweep else None,
        bars=False if in_sweep and "basic" not in hydra_config.launcher._target_ else None,
        tuning=tuning(choices["tuned"], "tuned" in explicit, folders),
        record={f"{name}.yaml": OmegaConf.to_yaml(part) for name, part in record.items()},
    )


def tuning(choice: str, is_given: bool, folders: list[Path]) -> str:
    """Return a line about the tuned constants in effect; raise UserError for a given choice that does not exist."""
    known = sorted({*map(str, TUNED), *(file.stem for folder in folders for file in folder.glob("tuned/*.yaml"))})
    if choice in known:
        return "" if choice == "none" else f"constants tuned for {choice}; tuned=none selects the published ones"
    if is_given:  # Hydra accepts any choice, since the group is optional
        raise UserError.bad_value("tuned", choice, f"one of {', '.join(known)}")
    return f"no tuned constants for {choice}: the published ones are used; tuned=RULE-NEURON selects others"


def remove_if_empty(directory: Path) -> None:
    """Remove the directory of a refused command, and the folders that hold only it, up to the current folder."""
    with suppress(OSError):  # stops at the first folder that is not empty
        for folder in (directory, *directory.parents):
            if not folder.is_relative_to(Path.cwd()) or folder == Path.cwd():
                break
            folder.rmdir()


class Sweep(Callback):
    """Hydra's callback for the end of a sweep; conf/config.yaml names this class."""

    def on_multirun_end(self, config: DictConfig, **_: object) -> None:
        """Print and write the comparison of the jobs; exit with 1 if one failed."""
        from stdp_run.reporting.comparison import compare_folder

        directory = Path(config.hydra.sweep.dir)
        try:
            compare_folder(directory)
        except UserError as error:  # no job finished
            log.warning("%s", error)
        print(f"\nresults  {directory}")
        failed = sorted(directory.rglob("error.txt"))
        for reason in failed:
            print(f"failed: {reason.parent}: {reason.read_text(encoding='utf-8').strip()}", file=sys.stderr)
        if failed:
            print(f"stdp-run: error: {len(failed)} failed, named above", file=sys.stderr)
            sys.exit(JOB_FAILED)


def run_name(mode: str, choices: Mapping[str, str | None], n_exc: object) -> str:
    """Return the name of a single run, which follows the time: its preset or dataset, rule and size."""
    if mode != "train":
        return folder_name(mode)
    data = choices["dataset"] if choices["first_layer"] == "none" else f"two_layers_{choices['dataset']}"
    return folder_name(f"{choices['experiment'] or data}_{choices['rule']}_{n_exc}")


def settings_name(overrides: Sequence[str], fixed: Collection[str], of_sweep: bool = False) -> str:
    """Return the name of a sweep from its overrides, or of a job from its overrides without the keys in `fixed`.

    If `hydra.sweep.dir` is given, sweeps may share the folder, so the name of a job has a digest of all its overrides.
    A path is shortened to its last part; for a checkpoint, to the directory of its run.
    """
    named = sorted(each for each in overrides if key_of(each) not in UNNAMED or key_of(each) not in fixed)
    shown = [each for each in named if of_sweep or key_of(each) not in fixed] or named
    short = re.sub(r"[^,=]*/|'", "", re.sub(r"/checkpoint\.pt(?=[,'_]|$)", "", "_".join(shown)))
    return folder_name("_".join(named if "hydra.sweep.dir" in fixed else shown).replace("=", "-"), short)


def folder_name(text: str, short: str | None = None) -> str:
    """Return a text, or a `short` form of it, as the name of a folder.

    The name ends in a digest if it is too long, or has characters other than letters, digits, ".", "_" and "-".
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", short or text)
    if name == text and 0 < len(name) <= LONGEST_NAME:
        return name
    digest = sha256(text.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - len(digest) - 1]}_{digest}".lstrip("_-.")


def array_size(file: str | None, axis: int) -> int:
    """Return the height (axis 0) or width (axis 1) of the images in a .npz file, for conf/dataset/arrays.yaml."""
    from stdp_run.datasets.arrays import size_in_file

    return size_in_file(file)[axis]


OmegaConf.register_new_resolver("array_size", array_size, replace=True)
OmegaConf.register_new_resolver("run_name", run_name, replace=True)
OmegaConf.register_new_resolver("job_name", settings_name, replace=True)
# The cache gives all jobs the same name of their sweep, made from the overrides of the whole command.
OmegaConf.register_new_resolver("sweep_name", settings_name, use_cache=True, replace=True)
