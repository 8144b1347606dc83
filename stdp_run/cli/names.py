"""Names of the folders of runs, sweeps and jobs, for conf/config.yaml."""

import re
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256

from omegaconf import OmegaConf

from stdp_run.cli.overrides import key_of

LONGEST_NAME = 90
# Keys that change no result: a sweep can be resumed with other values, unless it sweeps them.
UNNAMED = ("resume", "threads", "trainer.checkpoint_every", "trainer.checkpoint_seconds")


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


OmegaConf.register_new_resolver("run_name", run_name, replace=True)
OmegaConf.register_new_resolver("job_name", settings_name, replace=True)
# The cache gives all jobs the same name of their sweep, made from the overrides of the whole command.
OmegaConf.register_new_resolver("sweep_name", settings_name, use_cache=True, replace=True)
