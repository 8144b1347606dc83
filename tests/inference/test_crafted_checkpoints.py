"""Checkpoints of somebody else's making, with a right checksum: each is refused in a line that names the file."""

import hashlib
import io
import os
import pickle
from copy import deepcopy
from dataclasses import asdict

import numpy as np
import pytest
import torch
from helpers.errors import message_of
from helpers.runs import run_in

from stdp_run import checkpoint
from stdp_run.inference.export import export
from stdp_run.inference.load import load


@pytest.fixture(scope="module")
def content(finished_run):
    """What a real run saved."""
    return asdict(checkpoint.load(finished_run / "checkpoint.pt"))


def write(path, data: bytes):
    path.write_bytes(data + checkpoint._MARK + hashlib.sha256(data).hexdigest().encode() + b"\n")
    return path


def saved(value) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


class Code:
    """What runs a program when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("trace",)


FOREIGN = {
    "code": lambda: saved(Code()),
    "code in a dict": lambda: saved({"format": 2, "config": Code()}),
    "a plain pickle": lambda: pickle.dumps(Code()),
    "a list": lambda: saved([1, 2]),
    "nothing": lambda: b"",
    "an array": lambda: saved(torch.zeros(3)),
    "what numpy has no type for": lambda: saved({"format": 2, "config": torch.zeros(2, dtype=torch.bfloat16)}),
    "settings that are no text": lambda: saved({"format": 2, "config": {"seed": torch.zeros(2)}}),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_that_holds_something_else_is_refused_and_nothing_of_it_runs(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "c.pt", FOREIGN[kind]())
    expected = f"checkpoint={path}: holds something else than arrays and plain values; not loaded"
    assert message_of(lambda: load(path)) == expected
    assert not (tmp_path / "trace").exists()


def changed(*keys, to=None):
    """Return what changes a value in a checkpoint's content, or takes it out."""

    def change(content):
        for key in keys[:-1]:
            content = content[key]
        if to is None:
            del content[keys[-1]]
        else:
            content[keys[-1]] = to(content[keys[-1]]) if callable(to) else to

    return change


def with_value(value):
    """Return what puts a value into the first place of an array."""

    def change(array):
        array.flat[0] = value
        return array

    return change


WEIGHT, LABEL, COUNT = ("arrays", "weight"), ("extra", "label"), ("extra", "mean_count")
CRAFTED = {
    "no arrays": (changed("arrays"), "arrays is missing; must be of type dict"),
    "a list of arrays": (changed("arrays", to=[]), "arrays is of type list; must be of type dict"),
    "a part too many": (changed("more", to={1: 2}), "more is nothing that a checkpoint has"),
    "another format": (changed("format", to=3), "format 3; this version reads format 2"),
    "no weight": (changed(*WEIGHT), "weight is missing; must be of type ndarray"),
    "a weight list": (changed(*WEIGHT, to=[[1.0]]), "weight is of type list; must be of type ndarray"),
    "fewer neurons": (changed(*WEIGHT, to=lambda w: w[:50]), "weight is float32 [50, 784]; must be float32 [100, 784]"),
    "fewer inputs": (changed(*WEIGHT, to=lambda w: w[:, :9]), "weight is float32 [100, 9]; must be float32 [100, 784]"),
    "other digits": (changed(*WEIGHT, to=lambda w: w.astype(float)), "weight is float64 [100, 784]; must be float32"),
    "no number": (changed(*WEIGHT, to=with_value(np.nan)), "weight has values that are not finite"),
    "infinity": (changed(*WEIGHT, to=with_value(np.inf)), "weight has values that are not finite"),
    "one theta": (changed("arrays", "theta", to=lambda t: t[:1]), "theta is float64 [1]; must be float64 [100]"),
    "whole theta": (changed("arrays", "theta", to=lambda t: t.astype(int)), "theta is int64 [100]; must be float64"),
    "an array too many": (changed("arrays", "y", to=np.ones(3)), "y is nothing that NearestOnline keeps"),
    "label 99": (changed(*LABEL, to=with_value(99)), "label must be -1 to 9"),
    "label -2": (changed(*LABEL, to=with_value(-2)), "label must be -1 to 9"),
    "broken labels": (changed(*LABEL, to=lambda a: a + 0.5), "label is float64 [100]; must be int64 [100]"),
    "counts below 0": (changed(*COUNT, to=with_value(-1)), "mean_count must be 0 or more"),
    "counts of a class": (changed(*COUNT, to=lambda a: a[:9]), "mean_count is float64 [9, 100]; must be float64 [10,"),
    "numbers as classes": (
        changed("extra", "classes", to=list(range(10))),
        "classes must be different names, one or more",
    ),
    "a text as classes": (changed("extra", "classes", to="0123456789"), "classes is of type str; must be of type list"),
    "a class twice": (changed("extra", "classes", to=["0"] * 10), "classes must be different names, one or more"),
    "no class": (changed("extra", "classes", to=lambda _: []), "classes must be different names, one or more"),
    "a temperature of 0": (
        changed("extra", "calibration", to={"proportion": [0.0, 0.0]}),
        "calibration.proportion.0 must be a number above 0",
    ),
    "no floor": (changed("extra", "calibration", to={"proportion": [1.0]}), "calibration.proportion holds 1 values"),
    "no labels": (changed(*LABEL), "the neurons of this one are not labelled yet"),
    "no settings": (changed("config", to=lambda _: {}), "rule: missing"),
    "a setting too few": (changed("config", "n_exc"), "n_exc: missing"),
    "a setting too many": (changed("config", "more", to=1), "more=1: unknown key"),
    "a bad setting": (changed("config", "seed", to=-1), "seed=-1: must be a whole number from 0"),
    "a bad constant": (changed("config", "rule", "a_post", to="much"), "rule.a_post=much: must be a number"),
    "a section that is none": (changed("config", "rule", to=[1]), "rule=[1]: must be a group of keys"),
    "another size": (changed("config", "n_exc", to=50), "weight is float32 [100, 784]; must be float32 [50, 784]"),
    "a module of Python": (changed("config", "rule", "_target_", to="os.X"), "rule._target_=os.X: not in the package"),
    "another rule": (
        changed("config", "rule", "_target_", to="stdp_run.rules.MetaNearestOnline"),
        "unknown key; known here",
    ),
}


def crafted(kind, content, path):
    """Write a checkpoint in which something is changed; return its path."""
    made = {"format": checkpoint.FORMAT, **deepcopy(content)}
    CRAFTED[kind][0](made)
    return write(path, saved(checkpoint._converted(made, np.ndarray, torch.from_numpy)))


@pytest.mark.parametrize("kind", CRAFTED)
def test_content_that_is_no_trained_network_is_refused(content, tmp_path, kind):
    path = crafted(kind, content, tmp_path / "c.pt")
    line = message_of(lambda: load(path))
    assert line.startswith(f"checkpoint={path}: ") and CRAFTED[kind][1] in line
    assert message_of(lambda: export(path, tmp_path / "network.npz")) == line
    assert not (tmp_path / "network.npz").exists()


@pytest.mark.parametrize("kind", ["label 99", "no settings"])
def test_commands_refuse_it_as_well(content, tmp_path, kind):
    path = crafted(kind, content, tmp_path / "c.pt")
    for command in (("mode=eval",), ("mode=predict", f"predict.images={path}")):
        line = message_of(lambda words=command: run_in(tmp_path / "x", *words, f"checkpoint={path}"))
        assert line.startswith(f"checkpoint={path}: ") and CRAFTED[kind][1] in line
    assert not list((tmp_path / "x").glob("*.json"))


@pytest.mark.parametrize("path", [None, 3, "", b"run", ["run"], "a\0b", "x" * 5000])
def test_what_cannot_be_a_path_is_refused(path):
    line = message_of(lambda: load(path))
    assert line.startswith("checkpoint=") and ("must be the directory of a finished run" in line or "cannot be" in line)
