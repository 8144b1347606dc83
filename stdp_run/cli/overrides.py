"""Rewrites the arguments of a command for Hydra."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString

from stdp_run import rules
from stdp_run.config.build import conf_folder
from stdp_run.errors import UserError

# Keys of paths. In Hydra's grammar commas, brackets and quotation marks have a meaning; it accepts only ASCII letters.
PATHS = (
    *("checkpoint", "compare.dir", "dataset.file", "dataset.root", "export.to", "first_layer.run", "hydra.run.dir"),
    *("hydra.sweep.dir", "predict.csv", "predict.images", "predict.save", "resume"),
)


def is_sweep(arguments: Sequence[str]) -> bool:
    return any(re.match(r"(-m|--multirun)$|(hydra\.mode|hparams_search)=", item) for item in arguments)


def prepared(arguments: Sequence[str]) -> list[str]:
    """Return a command's arguments for Hydra: quoted paths, then implied overrides; raise UserError for bad values."""
    sweep = is_sweep(arguments)
    words = [word for item in arguments for word in (_rewritten(item, sweep) if "=" in item else [item])]
    overrides = [word for word in words if "=" in word and not word.startswith("-")]
    given = {key_of(each.input_line or ""): each for each in OverridesParser.create().parse_overrides(overrides)}
    for each in given.values():
        line, value = each.input_line, each.value()
        if isinstance(value, str) and not value.strip():
            raise UserError(f"{line}: the value is empty, perhaps an unset shell variable; null means none")
        if f"${{{each.key_or_group}}}" in str(value):
            raise UserError(f"{line}: refers to itself")
        if each.is_sweep_override():
            if not sweep:
                raise UserError(f"{line}: must be one value; -m sweeps over several, and a list is [VALUE,VALUE]")
        elif (conf_folder() / each.key_or_group).is_dir() and not isinstance(value, str | list | None):
            raise UserError(f"{line}: must be the name of a choice")
    return [*words, *_implied(given, sweep)]


def key_of(override: str) -> str:
    """Return the key of an override: rule.a_post for +rule.a_post=0.1, P for rule@P=full_online."""
    group, _, package = override.partition("=")[0].lstrip("+~").partition("@")
    return package or group


def quoted(text: str) -> str:
    """Return a text in Hydra's quotation marks; only `${...}` keeps its meaning there."""
    return QuotedString(text, Quote.single).with_quotes()


def _rewritten(argument: str, sweep: bool) -> list[str]:
    """Return an argument with a quoted path and the registered name of a rule; `first_layer=RUN` becomes two."""
    key, _, value = argument.partition("=")
    if key == "rule":
        return [f"rule={','.join(rules.registered.canonical(name) or name for name in value.split(','))}"]
    if key == "first_layer" and ("/" in value or Path(value.strip("'\"")).is_dir()):
        return ["first_layer=patches", *_rewritten(f"first_layer.run={value}", sweep)]
    is_quoted, several = re.fullmatch(r"(['\"]).*\1", value, re.DOTALL), sweep and re.search(r",|^\w+\(", value)
    if key.lstrip("+") in PATHS and value.lower() != "null" and not is_quoted and not several:
        return [f"{key}={quoted(os.path.expanduser(value))}"]
    return [argument]


def _implied(given: dict[str, Override], sweep: bool) -> list[str]:
    """Return the overrides that others imply; raise UserError if `resume` is impossible."""
    values, implied = {key: each.value() for key, each in given.items()}, []
    fixed = [quoted(key) for key, each in given.items() if not each.is_sweep_override()]
    if sweep and fixed:  # the swept keys name a job
        implied.append(f"hydra.job.config.override_dirname.exclude_keys=[{','.join(fixed)}]")
    if values.get("hydra/sweeper") == "optuna" and "hydra.sweeper.max_failure_rate" not in values:
        implied.append("hydra.sweeper.max_failure_rate=1.0")  # the search continues after failed trials
    elif values.get("mode") in ("predict", "export", "compare"):  # these need no directory
        implied.append("hydra.run.dir=.")
    elif (resume := values.get("resume")) not in ("auto", None):
        if not (Path(str(resume)) / "config.yaml").is_file():
            raise UserError.bad_value("resume", resume, "auto, null, or the directory of a run, with a config.yaml")
        if sweep or "hydra.run.dir" in values:
            raise UserError(f"resume={resume}: excludes -m and hydra.run.dir; without it, the command resumes a sweep")
        implied.append(f"hydra.run.dir={quoted(str(resume))}")
    return implied
