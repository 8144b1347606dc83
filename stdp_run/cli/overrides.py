"""What is on the command line, before Hydra reads it."""

from pathlib import Path

from stdp_run import rules
from stdp_run.errors import UserError


def key_of(override: str) -> str:
    """Return the key that an override such as "+rule.a_post=0.1" gives a value to."""
    return override.partition("=")[0].lstrip("+~").partition("@")[0]


def implied(arguments: list[str]) -> list[str]:
    """Return the overrides that follow from the command's own: where Hydra is to write, and not to stop at a failure.

    Raises:
        UserError: there is no run in the directory that `resume` names.
    """
    given = {key_of(item): item.partition("=")[2] for item in arguments if "=" in item}
    if given.get("hydra/sweeper") == "optuna" and "hydra.sweeper.max_failure_rate" not in given:
        return ["hydra.sweeper.max_failure_rate=1.0"]  # a trial that fails is one to learn from, not the end
    if given.get("mode") in ("predict", "export", "compare"):  # they have no run of their own
        return ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra/job_logging=terminal"]
    resume = given.get("resume", "auto")
    if resume in ("auto", "null", ""):
        return []
    if any(item in ("-m", "--multirun") for item in arguments):
        raise UserError(f"resume={resume}: resumes one run; the same command without it resumes a sweep")
    if not (Path(resume) / "config.yaml").is_file():
        raise UserError.bad_value("resume", resume, "auto, null, or the directory of a run, with a config.yaml in it")
    if "'" in resume or "\\" in resume:
        raise UserError.bad_value("resume", resume, "a path without quotation marks and backslashes")
    # Hydra would replace the record of the run's own command by this one's.
    return [f"hydra.run.dir='{resume}'", "hydra.output_subdir=null"]


def canonical_rule(argument: str) -> str:
    """Return a command-line argument with the rules it chooses by their own names, whatever their case or alias."""
    key, _, names = argument.partition("=")
    own = ",".join(rules.registered.canonical(name) or name for name in names.split(","))
    return f"rule={own}" if key == "rule" and names else argument
