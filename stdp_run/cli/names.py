"""Names of the folders of runs, sweeps and jobs, for conf/config.yaml."""

import re
from hashlib import sha256

from omegaconf import OmegaConf

LONGEST_NAME = 90


def run_name(mode: str, rule: str, n_exc: object) -> str:
    """Return the name of a single run, to stand behind the time."""
    return folder_name(f"{rule}_{n_exc}" if mode == "train" else mode)


def folder_name(text: str) -> str:
    """Return a text as the name of a folder.

    A text that is too long, or has other characters than letters, digits, "." "_" and "-", gets a digest of its own.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text)
    if name == text and 0 < len(name) <= LONGEST_NAME:
        return name
    digest = sha256(text.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - len(digest) - 1]}_{digest}".lstrip("_-.")


OmegaConf.register_new_resolver("run_name", run_name, replace=True)
OmegaConf.register_new_resolver("job_name", folder_name, replace=True)
# The cache gives all jobs the name of their sweep, as made from the overrides of the whole command.
OmegaConf.register_new_resolver("sweep_name", folder_name, use_cache=True, replace=True)
