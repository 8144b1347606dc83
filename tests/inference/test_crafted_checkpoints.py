"""Crafted checkpoints with a right checksum: each is refused in a line that names the file, and no code of it runs."""

import hashlib
import io
import os
import pickle
import zipfile
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.errors import message_of
from helpers.runs import contents, killed_run, run_in

from stdp_run import checkpoint
from stdp_run.files import read_record
from stdp_run.inference.load import load

GOLDEN = Path(__file__).parents[1] / "golden" / "two_layers.pt"


def write(path, data: bytes):
    """Write what `torch.save` made, followed by its checksum; return the path."""
    path.write_bytes(data + checkpoint._MARK + hashlib.sha256(data).hexdigest().encode() + b"\n")
    return path


def saved(value) -> bytes:
    buffer = io.BytesIO()
    torch.save({"format": checkpoint.FORMAT, **value}, buffer)
    return buffer.getvalue()


class Call:
    """Calls a function when it is unpickled."""

    def __init__(self, function, argument):
        self.parts = function, (argument,)

    def __reduce__(self):
        return self.parts


def checkpoint_with(**parts) -> bytes:
    return saved({"config": {}, "engine": [], "state_dict": {}, **parts})


def doubled(value, times: int):
    """Return a value in lists that each hold the one before twice."""
    for _ in range(times):
        value = [value, value]
    return value


def compressed(data: bytes) -> bytes:
    """Return an archive with its entries compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return buffer.getvalue()


FOREIGN = {
    "memory": lambda: checkpoint_with(progress=Call(bytearray, 2**33)),
    "compressed zeros": lambda: compressed(checkpoint_with(state_dict={"weight": torch.zeros(10**6)})),
    "a stride of 0": lambda: checkpoint_with(state_dict={"weight": torch.zeros(1).expand(5_000_000, 784)}),
    "a shared text": lambda: checkpoint_with(config={"more": doubled("x" * 1000, 8)}),
    "a shared empty text": lambda: checkpoint_with(config={"more": doubled("", 40)}),
    "a shared key": lambda: checkpoint_with(config={"more": doubled({"x" * 1000: 1}, 8)}),
    "an array as setting": lambda: checkpoint_with(config={"n_exc": torch.zeros(2)}),
    "a text as number of images": lambda: checkpoint_with(global_step="1"),
    "code": lambda: checkpoint_with(config=Call(os.mkdir, "trace")),
    "a plain pickle": lambda: pickle.dumps(Call(os.mkdir, "trace")),
    "a type that NumPy lacks": lambda: checkpoint_with(config=torch.zeros(2, dtype=torch.bfloat16)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_content_is_refused_and_runs_no_code(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "c.pt", FOREIGN[kind]())
    assert message_of(lambda: load(path)).startswith(f"checkpoint={path}: not a checkpoint of a run (")
    assert os.listdir(tmp_path) == ["c.pt"]


GONE = object()


def first(value):
    """Return a function that returns a copy of an array with another first value."""
    return lambda array: np.concatenate([[value], array.ravel()[1:]]).astype(array.dtype).reshape(array.shape)


# Keys of a value in the content, what it becomes, and what the line says
CRAFTED = {
    "no arrays": ("state_dict", GONE, "missing 1 required positional argument: 'state_dict'"),
    "no weight": ("state_dict weight", GONE, "KeyError: 'weight'"),
    "fewer neurons": ("state_dict weight", lambda w: w[:50], "weight is float32 [50, 784]; must be float32 [100, 784]"),
    "other precision": ("state_dict weight", lambda w: w.astype(float), "weight is float64 [100, 784]; must be"),
    "no number": ("state_dict weight", first(np.nan), "weight has values that are not allowed"),
    "an unknown array": ("state_dict y", np.ones(3), "y is not an array of NearestOnline"),
    "an unknown layer": ("first_layer", {}, "first_layer does not fit the settings"),
    "label 99": ("labels label", first(99), "label has values that are not allowed"),
    "counts below 0": ("labels mean_count", first(-1), "mean_count has values that are not allowed"),
    "numbers as classes": ("labels classes", [*range(10)], "classes must be different names, one or more"),
    "a temperature of 0": ("labels calibration", {"proportion": [0.0, 0.0]}, "calibration.proportion has values that"),
    "no labels": ("labels", GONE, "must be the checkpoint.pt of a finished run: this one has no labels yet"),
    "no settings": ("config", {}, "rule: missing"),
    "presentations": ("config evaluator n_presentations", 2**31 - 1, "must be a whole number from 1 to 1000"),
    "a list as section": ("config rule", [1], "rule=[1]: must be a group of keys"),
    "Python's own module": ("config rule _target_", "os.X", "rule._target_=os.X: no os.py in stdp_run or in a named"),
}


@pytest.fixture(scope="module")
def content(finished_run):
    """The content of a real run's checkpoint."""
    return vars(checkpoint.load(finished_run / "checkpoint.pt"))


def crafted(content, change, path):
    """Write a checkpoint with one change; return its path."""
    keys, to, _ = change
    changed = part = deepcopy(content)
    *sections, last = keys.split()
    for key in sections:
        part = part[key]
    part[last] = to(part[last]) if callable(to) else to
    if to is GONE:
        del part[last]
    return write(path, saved(checkpoint._converted(changed, np.ndarray, torch.from_numpy)))


@pytest.mark.parametrize("kind", CRAFTED)
def test_crafted_content_is_refused(content, tmp_path, kind):
    path = crafted(content, CRAFTED[kind], tmp_path / "c.pt")
    line = message_of(lambda: load(path))
    assert line.startswith(f"checkpoint={path}") and CRAFTED[kind][2] in line


def test_every_command_refuses_it_and_writes_nothing(content, tmp_path):
    path = crafted(content, CRAFTED["label 99"], tmp_path / "c.pt")
    line = message_of(lambda: load(path))
    for words in (("mode=eval",), ("mode=predict", f"predict.images={path}"), ("mode=export", "export.to=x.npz")):
        assert message_of(lambda words=words: run_in(tmp_path / "x", *words, f"checkpoint={path}")) == line
    assert contents(tmp_path).keys() == {path}


def test_a_crafted_first_layer_is_refused(tmp_path):
    saved, path = checkpoint.load(GOLDEN), tmp_path / "c.pt"
    for layer, problem in (
        (None, "first_layer does not fit the settings"),
        ({**saved.first_layer, "weight": np.zeros((6, 8), "f4")}, "weight is float32 [6, 8]; must be float32 [6, 9]"),
    ):
        checkpoint.save(path, replace(saved, first_layer=layer))
        assert problem in message_of(lambda: load(path))


def test_nothing_in_a_record_is_resolved(content, tmp_path):
    name = "${oc.env:HOME} ${x"
    path = crafted(content, ("config rule name", name, ""), tmp_path / "c.pt")
    run_in(tmp_path / "x", "mode=eval", f"checkpoint={path}", "n_test=10")
    assert read_record(tmp_path / "x" / "config.yaml")["rule"]["name"] == name


# Checkpoints of unfinished runs ---------------------------------------------------------------------------------------

SMALL = ("dataset=digits", "n_exc=5", "n_train=30", "encoder.steps=20", "trainer.log_every=20")
SMALL = (*SMALL, "trainer.checkpoint_every=15")
UNFINISHED = {
    "no progress": ("progress", GONE, "KeyError"),
    "no time": ("progress wall_seconds", float("nan"), "progress has values that are not allowed"),
    "too few counts": ("progress counts", [], "zip() argument 2 is longer than argument 1"),
    "counts as list": ("progress counts", [[1]], "AttributeError"),
    "class 99": ("progress classes", lambda parts: [first(99)(parts[0])], "classes has values that are not allowed"),
    "counts below 0": ("progress counts", lambda parts: [first(-1)(parts[0])], "counts has values that are not"),
    "no engine": ("engine", [], "not enough values to unpack"),
}


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The directory of a run that was killed between two checkpoints."""
    return killed_run(tmp_path_factory.mktemp("killed") / "run", 20, *SMALL)


@pytest.mark.parametrize("kind", UNFINISHED)
def test_a_run_is_not_resumed_from_a_crafted_checkpoint(killed, kind):
    [file] = (killed / "checkpoints").iterdir()
    intact, before = file.read_bytes(), contents(killed)
    crafted(vars(checkpoint.load(file)), UNFINISHED[kind], file)
    line = message_of(lambda: run_in(killed, *SMALL))
    assert line.startswith(f"checkpoint={file.parent}: not a checkpoint of a run (") and UNFINISHED[kind][2] in line
    file.write_bytes(intact)
    assert contents(killed) == before
