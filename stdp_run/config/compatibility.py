"""Merges the settings of a command with those of the run that it resumes or evaluates."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stdp_run.config.schema import ONLY_IN
from stdp_run.errors import UserError, shown

# Keys and sections that belong to a command, not to a run.
_OF_COMMANDS = ("mode", "resume", *ONLY_IN)
# Keys that change no result; they may differ when a run is resumed.
OPERATIONAL = (
    *(*_OF_COMMANDS, "threads", "trainer.checkpoint_every", "trainer.checkpoint_seconds"),
    *("trainer.keep_checkpoints", "trainer.plot_every"),
)
ENGINE_KEYS = ("engine", "device", "batch_size", "reduction", "tf32", "threads")
# Keys that an evaluation may change.
_OF_EVALUATION = (*OPERATIONAL, *ENGINE_KEYS, "dataset", "n_test", "evaluator", "n_train", "n_label")

Record = dict[str, Any]


def record_to_resume(asked: Record, existing: Record, path: Path, explicit: Sequence[str]) -> Record:
    """Return the record for resuming the run at `path`; `existing` is the record of the run.

    With resume=DIRECTORY it is the run's record; `explicit` keys of the command may change only operational keys. With
    resume=auto it is the record of the command. Raise UserError, which names the keys, if the records disagree.
    """
    if asked.get("resume") is None:
        raise UserError(f"resume=null: {path} holds a run; resume=auto resumes it, or choose another hydra.run.dir")
    changed = differences(asked, existing, OPERATIONAL)
    if asked["resume"] != "auto":
        changed = _due_to(explicit, changed, asked)
    if changed:
        raise UserError(f"{path} holds a run with other settings: {', '.join(changed)}")
    if asked["resume"] == "auto":
        return asked
    record = {**existing, **{key: asked[key] for key in _OF_COMMANDS if key in asked}}
    for key, value in flat(asked).items():
        if key in explicit and within(key, *OPERATIONAL):
            section, _, name = key.rpartition(".")
            record |= {section: {**record[section], name: value}} if section else {name: value}
    return record


def record_to_evaluate(asked: Record, learned: Record, path: str, explicit: Sequence[str]) -> Record:
    """Return the record for an evaluation: the record of the network, with the engine and data of the command.

    Raise UserError, which names the keys, if the command changes settings of the training.
    """
    if missing := {*ENGINE_KEYS, "dataset", "evaluator"} - asked.keys():
        raise UserError(f"{min(missing)}: missing")
    foreign = [key for key in explicit if not within(key, *_OF_EVALUATION)]
    if "evaluator.supervised" in explicit and asked["evaluator"]["supervised"]:
        raise UserError("evaluator.supervised=true: only valid with mode=train; a checkpoint has no such classifier")
    changed = _due_to(foreign, differences(asked, learned, OPERATIONAL), asked)
    if changed:
        raise UserError(f"checkpoint={path} was made with other settings: {', '.join(changed)}")
    record = {**learned, **{key: asked[key] for key in (*_OF_COMMANDS, *ENGINE_KEYS)}}
    # These numbers belong to the dataset, or the split, of the training.
    if any(within(key, "dataset") for key in explicit):
        record["n_train"] = record["n_label"] = None
    if "dataset" in explicit:
        record["n_test"] = None
    for section in ("dataset", "evaluator"):
        keys = {key.split(".")[1] for key in explicit if key.startswith(f"{section}.")}
        chosen = {key: value for key, value in asked[section].items() if key in keys}
        record[section] = asked[section] if section in explicit else {**learned[section], **chosen}
    record["evaluator"] = {**record["evaluator"], "supervised": False}
    return record | {key: asked[key] for key in ("n_test", "n_train", "n_label") if key in explicit}


def flat(config: Mapping, prefix: str = "") -> dict[str, object]:
    """Return the values of a config by dotted key."""
    values: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = value
    return values


def differences(asked: Mapping, existing: Mapping, ignored: Sequence[str]) -> list[str]:
    """Return "key=asked (there: value)" for every difference of two records, without `ignored` keys and sections."""
    new, old = ({k: v for k, v in flat(each).items() if not within(k, *ignored)} for each in (asked, existing))
    pairs = {key: (new.get(key, "not set"), old.get(key, "not set")) for key in sorted(new.keys() | old.keys())}
    return [f"{key}={shown(a)} (there: {shown(b)})" for key, (a, b) in pairs.items() if a != b]


def _due_to(explicit: Sequence[str], changed: list[str], config: Mapping) -> list[str]:
    """Return the differences that come from a key on the command line."""
    known = flat(config)
    # A preset, such as experiment=, is not a section of the config and may set any key.
    if any(not any(within(name, key) for name in known) for key in explicit):
        return changed
    return [item for item in changed if within(item.partition("=")[0], *explicit)]


def within(key: str, *sections: str) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)
