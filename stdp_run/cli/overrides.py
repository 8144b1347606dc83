"""What is on the command line, before Hydra reads it."""

import os
import re
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser

from stdp_run import rules
from stdp_run.config.command_line import quoted
from stdp_run.errors import UserError

# Keys whose values are paths, which are taken as they are: Hydra's grammar gives a meaning to commas, brackets and
# quotation marks, and knows ASCII letters only.
PATHS = (
    *("checkpoint", "compare.dir", "dataset.root", "export.to", "first_layer.run", "hydra.run.dir", "hydra.sweep.dir"),
    *("predict.csv", "predict.images", "resume"),
)


def prepared(arguments: list[str]) -> list[str]:
    """Return the arguments of a command as Hydra is to read them, with what follows from them.

    Raises:
        UserError: a value is empty, or there is no run in the directory that `resume` names.
    """
    sweep = any(item in ("-m", "--multirun") for item in arguments)
    for item in arguments:
        if "=" in item and not item.partition("=")[2].strip("'\" "):
            raise UserError(f"{item}: the value is empty, as of a variable that is not set; null stands for none")
    arguments = [part for item in arguments for part in first_layer_of_run(item)]
    arguments = [path_as_it_is(canonical_rule(item), sweep) for item in arguments]
    return [*arguments, *implied(arguments)]


def key_of(override: str) -> str:
    """Return the key that an override gives a value to: rule.a_post of +rule.a_post=0.1, P of rule@P=full_online."""
    group, _, package = override.partition("=")[0].lstrip("+~").partition("@")
    return package or group


def implied(arguments: list[str]) -> list[str]:
    """Return the overrides that follow from the command's own: where Hydra is to write, and not to stop at a failure.

    Raises:
        UserError: there is no run in the directory that `resume` names.
    """
    given = {key_of(item): item for item in arguments if "=" in item}
    values = {key: item.partition("=")[2] for key, item in given.items()}
    if values.get("hydra/sweeper") == "optuna" and "hydra.sweeper.max_failure_rate" not in values:
        return ["hydra.sweeper.max_failure_rate=1.0"]  # a trial that fails is one to learn from, not the end
    if values.get("mode") in ("predict", "export", "compare"):  # they have no run of their own
        return ["hydra.run.dir=."]
    if values.get("resume", "null").strip("'\"") in ("auto", "null"):
        return []
    resume = str(OverridesParser.create().parse_override(given["resume"]).value())
    if "hydra.run.dir" in given:
        raise UserError(f"{given['hydra.run.dir']}: resume={resume} writes in that directory; leave one of the two out")
    if any(item in ("-m", "--multirun") for item in arguments):
        raise UserError(f"resume={resume}: resumes one run; the same command without it resumes a sweep")
    if not (Path(resume) / "config.yaml").is_file():
        raise UserError.bad_value("resume", resume, "auto, null, or the directory of a run, with a config.yaml in it")
    return [f"hydra.run.dir={quoted(resume)}"]


def first_layer_of_run(argument: str) -> list[str]:
    """Return an argument `first_layer=RUN`, which names the directory of a run, as what it stands for."""
    key, _, value = argument.partition("=")
    if key != "first_layer" or not ("/" in value or Path(value.strip("'\"")).is_dir()):
        return [argument]
    return ["first_layer=patches", f"first_layer.run={value}"]


def path_as_it_is(argument: str, sweep: bool) -> str:
    """Return an argument that gives a path with the path quoted for Hydra, and ~ as the user's folder.

    One that has quotation marks around it already, null, and the several values of a `sweep` stay as they are.
    """
    key, _, value = argument.partition("=")
    if key.lstrip("+") not in PATHS or value.lower() == "null" or re.fullmatch(r"(['\"]).*\1", value, re.DOTALL):
        return argument
    if sweep and re.search(r",|^\w+\(", value):
        return argument
    return f"{key}={quoted(os.path.expanduser(value))}"


def canonical_rule(argument: str) -> str:
    """Return a command-line argument with the rules it chooses by their own names, whatever their case or alias."""
    key, _, names = argument.partition("=")
    own = ",".join(rules.registered.canonical(name) or name for name in names.split(","))
    return f"rule={own}" if key == "rule" and names else argument
