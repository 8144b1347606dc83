"""The names of the folders that runs, sweeps and their jobs get."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from stdp_run.cli.overrides import key_of

# What does not change what a sweep or a job is about, and so not the name of its folder.
NOT_IN_NAMES = ("resume", "threads", "device", "trainer.checkpoint_every", "trainer.checkpoint_seconds")
LONGEST_NAME, LONGEST_VALUE = 100, 32


def run_name(mode: str, rule: str, n_exc: object, checkpoint: str | None) -> str:
    """Return what the folder of a command without a sweep is named after, beside the time: what it does."""
    if mode == "train":
        return _plain(f"{rule}_{n_exc}")
    evaluated = Path(checkpoint or "").absolute()
    run = evaluated.parent if evaluated.suffix == ".pt" else evaluated
    return _plain(f"eval_{run.name}" if mode == "eval" else mode)


def job_name(overrides: Iterable[str]) -> str:
    """Return a name for a job's folder that tells its settings, as far as they fit, and is its own."""
    words = words_of_jobs(overrides)
    return _with_digest(_plain("_".join(words))[:80], words)


def sweep_name(overrides: Iterable[str]) -> str:
    """Return a name for a sweep's folder that tells what is swept, then what is fixed, as far as it fits; its own."""
    words = words_of_jobs(overrides)
    text = ""
    for word in sorted(words, key=lambda word: not _is_swept(word)):
        longer = f"{text}_{_setting(word)}".strip("_")
        text = longer if len(longer) <= LONGEST_NAME else text
    return _with_digest(text, words)


def words_of_jobs(overrides: Iterable[str]) -> list[str]:
    """Return those overrides that say what a sweep or a job is about, whatever order they were given in."""
    words = [item for item in overrides if "=" in item and item[0] != "-" and key_of(item) not in NOT_IN_NAMES]
    return sorted(item for item in words if not key_of(item).startswith(("hydra.", "hydra/")))


def _is_swept(word: str) -> bool:
    """Return whether an override gives several values: A,B or FUNCTION(...), not a list and no text in quotes."""
    value = re.sub(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]", "", word.partition("=")[2])
    return bool(re.search(r",|^\w+\(", value))


def _setting(word: str) -> str:
    """Return in a few characters what an override sets, or the number of values where they are many."""
    key, value = key_of(word).rpartition(".")[2], word.partition("=")[2]
    if _is_swept(word) and len(value) > LONGEST_VALUE:
        value = f"{value.count(',') + 1} values"
    return f"{key}-{_plain(value[:LONGEST_VALUE])}"


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-_.")


def _with_digest(text: str, words: list[str]) -> str:
    digest = hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]
    return f"{text.strip('-_.')}_{digest}".lstrip("_")
