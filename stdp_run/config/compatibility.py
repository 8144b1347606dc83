"""With which configuration a run goes on, or a network is evaluated: its own, as far as the command lets it be."""

from pathlib import Path

from stdp_run.config.settings import OPERATIONAL
from stdp_run.errors import UserError
from stdp_run.training.run_directory import differences, flat

ENGINE_OPTIONS = ("engine", "device", "batch_size", "reduction", "tf32", "threads")
# What may be asked of a trained network that it was not trained with.
EVALUATION_KEYS = (*OPERATIONAL, *ENGINE_OPTIONS, "dataset", "n_test", "evaluator", "n_train", "n_label")


def config_to_go_on(config: dict, there: dict, path: Path, explicit: tuple[str, ...]) -> dict:
    """Return the config with which the run at `path`, made with the config `there`, goes on.

    With resume=PATH it is the run's own, of which the keys that are `explicit` in the command must not change any;
    with resume=auto it is the command's, which must be the same as the run's.

    Raises:
        UserError: they do not fit; the keys are named.
    """
    if config["resume"] is None:
        raise UserError(f"resume=null: {path} holds a run; resume=auto goes on with it, hydra.run.dir=PATH elsewhere")
    changed = differences(config, there, OPERATIONAL)
    if config["resume"] != "auto":
        changed = _explicit_ones(changed, config, explicit)
        config = _with_explicit_operational(there, config, explicit)
    if changed:
        raise UserError(f"{path} holds a run with other settings: {', '.join(changed)}")
    return config


def _with_explicit_operational(there: dict, config: dict, explicit: tuple[str, ...]) -> dict:
    """Return the run's config `there` with what the command says that has no bearing on its result."""
    result = {**there, "mode": config["mode"], "resume": config["resume"], "trainer": dict(there["trainer"])}
    for key in set(OPERATIONAL) & set(explicit):
        section, _, name = key.rpartition(".")
        (result[section] if section else result)[name] = (config[section] if section else config)[name]
    return result


def _explicit_ones(changed: list[str], config: dict, explicit: tuple[str, ...]) -> list[str]:
    """Return those of the differences that a key given on the command line is the reason of."""
    sections = {*config, *flat(config)}
    sections |= {f"{outer}.{inner}" for outer, values in config.items() if isinstance(values, dict) for inner in values}
    if any(key not in sections for key in explicit):  # a preset, such as experiment=, which may set anything
        return changed
    return [item for item in changed if any(_within(item.partition("=")[0], key) for key in explicit)]


def _within(key: str, section: str) -> bool:
    return key == section or key.startswith(f"{section}.")


def config_to_evaluate(config: dict, learned: dict, path: str, explicit: tuple[str, ...]) -> dict:
    """Return the config to evaluate a network with: its own, and what the command says of engine and data.

    Raises:
        UserError: the command names other settings of the network than it was trained with; the keys are named.
    """
    asked = [key for key in explicit if not any(_within(key, allowed) for allowed in EVALUATION_KEYS)]
    changed = _explicit_ones(differences(config, learned, OPERATIONAL), config, tuple(asked)) if asked else []
    if changed:
        raise UserError(f"checkpoint={path} was made with other settings: {', '.join(changed)}")
    result = {**learned, **{key: config[key] for key in (*OPERATIONAL, *ENGINE_OPTIONS) if key in config}}
    # These count images of the data set, or of the split, that was learned.
    if any(_within(key, "dataset") for key in explicit):
        result["n_train"] = result["n_label"] = None
    if "dataset" in explicit:
        result["n_test"] = None
    for section in ("dataset", "evaluator"):
        given = {key.partition(".")[2] for key in explicit if _within(key, section)}
        whole = given and "" in given
        chosen = config[section] if whole else {key: config[section][key] for key in given if key in config[section]}
        result[section] = chosen if whole else {**learned[section], **chosen}
    for key in ("n_test", "n_train", "n_label"):
        if key in explicit:
            result[key] = config[key]
    return result
