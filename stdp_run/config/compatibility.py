"""With which settings a run is resumed, or a network is evaluated: its own, as far as the command lets it be."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stdp_run.config.schema import Settings, of_this_version, read_settings
from stdp_run.errors import UserError, shown

# What belongs to a command and not to a run.
_OF_COMMANDS = ("mode", "resume", "checkpoint", "predict", "export", "compare", "perturbation")
# What changes nothing in a result, and so may differ when a run is resumed: keys and sections.
OPERATIONAL = (
    *_OF_COMMANDS,
    *("threads", "trainer.checkpoint_every", "trainer.checkpoint_seconds", "trainer.plot_every", "config_dir"),
)
ENGINE_KEYS = ("engine", "device", "batch_size", "reduction", "tf32", "threads")
CHOSEN_ONCE = ("engine", "device")  # a run that was begun with auto keeps what was chosen then
# What may be asked of a trained network that it was not trained with.
_OF_EVALUATION = (*OPERATIONAL, *ENGINE_KEYS, "dataset", "n_test", "evaluator", "n_train", "n_label")


def settings_to_resume(asked: Settings, there: dict[str, Any], path: Path, explicit: Sequence[str]) -> Settings:
    """Return the settings with which the run at `path`, whose record is `there`, is resumed.

    With resume=DIRECTORY they are the run's own, of which the keys that are `explicit` in the command must not change
    any; with resume=auto they are the command's, which must be the same as the run's. An engine or device that the
    command leaves to `auto` is the run's.

    Raises:
        UserError: they do not fit; the keys are named.
    """
    if asked.resume is None:
        raise UserError(f"resume=null: {path} holds a run; resume=auto resumes it, hydra.run.dir=PATH starts elsewhere")
    there = of_this_version(there)
    changed = differences(asked.record, there, OPERATIONAL)
    if asked.resume != "auto":
        changed = _due_to(explicit, changed, asked.record)
    if changed:
        raise UserError(f"{path} holds a run with other settings: {', '.join(changed)}")
    if asked.resume == "auto":
        return asked.with_values({key: there[key] for key in CHOSEN_ONCE if key in there})
    taken = {key for key in explicit if _within(key, *OPERATIONAL)}
    values = {key: value for key, value in flat(asked.record).items() if key in taken or _within(key, *_OF_COMMANDS)}
    values |= _own_folder(asked)
    try:
        return read_settings(there).with_values(values)
    except UserError as error:
        raise UserError(f"{path} holds a run with settings that cannot be used: {error}") from error


def settings_to_evaluate(asked: Settings, learned: dict[str, Any], path: str, explicit: Sequence[str]) -> Settings:
    """Return the settings to evaluate a network with: its record's, and what the command says of engine and data.

    Raises:
        UserError: the command names other settings of the network than it was trained with; the keys are named.
    """
    learned = of_this_version(learned)
    foreign = [key for key in explicit if not _within(key, *_OF_EVALUATION)]
    changed = _due_to(foreign, differences(asked.record, learned, OPERATIONAL), asked.record)
    if changed:
        raise UserError(f"checkpoint={path} was made with other settings: {', '.join(changed)}")
    config = asked.record
    record = {**learned, **{key: config[key] for key in (*_OF_COMMANDS, *ENGINE_KEYS)}, **_own_folder(asked)}
    # These count images of the data set, or of the split, that was learned.
    if any(_within(key, "dataset") for key in explicit):
        record["n_train"] = record["n_label"] = None
    if "dataset" in explicit:
        record["n_test"] = None
    for section in ("dataset", "evaluator"):
        chosen = {key: value for key, value in config[section].items() if f"{section}.{key}" in explicit}
        record[section] = config[section] if section in explicit else {**learned[section], **chosen}
    record |= {key: config[key] for key in ("n_test", "n_train", "n_label") if key in explicit}
    return read_settings(record)


def _own_folder(asked: Settings) -> dict[str, object]:
    """Return the folder of classes of one's own, where the command names one: it may have moved since."""
    return {"config_dir": asked.config_dir} if asked.config_dir else {}


def flat(config: Mapping, prefix: str = "") -> dict[str, object]:
    """Return a config's values by dotted key."""
    values: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values


def differences(asked: Mapping, there: dict[str, Any], ignored: Sequence[str]) -> list[str]:
    """Return "key=asked (there: value)" for every key that two configs disagree about.

    `ignored` keys, and those in `ignored` sections, may differ, and an engine or device that is asked for as `auto`.
    """
    asked, there = flat(asked), flat(there)
    found = []
    for key in sorted(asked.keys() | there.keys()):
        new, old = (values.get(key, "not set") for values in (asked, there))
        if new is None and key not in there:  # it came with a later version
            continue
        if new != old and not _within(key, *ignored) and not (new == "auto" and key in CHOSEN_ONCE):
            found.append(f"{key}={shown(new)} (there: {shown(old)})")
    return found


def _due_to(explicit: Sequence[str], changed: list[str], config: Mapping) -> list[str]:
    """Return those of the differences that a key given on the command line is the reason of."""
    known = flat(config)
    # A preset, such as experiment=, is no section of the config and may set anything.
    if any(not any(_within(name, key) for name in known) for key in explicit):
        return changed
    return [item for item in changed if _within(item.partition("=")[0], *explicit)]


def _within(key: str, *sections: str) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)
