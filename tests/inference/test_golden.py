"""Checkpoints of earlier versions, one of each kind, are read and answer as they did.

`PYTHONPATH=tests python tests/inference/test_golden.py` writes them anew, after a change of the format or the results.
"""

import hashlib
import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.errors import message_of
from helpers.runs import run_in

import stdp_run
from stdp_run import checkpoint

FOLDER = Path(__file__).parents[1] / "golden"
FEW = (
    *("dataset=digits", "n_exc=8", "n_train=200", "n_label=100", "n_test=20"),
    *("encoder.steps=300", "encoder.max_rate_hz=400"),
)
KINDS = {
    "currents": FEW,
    "integers": (*FEW, "rule=post_pre_int"),
    "conductances": ("experiment=diehl_cook_2015_100", *FEW, "encoder.rest_steps=24"),
    "two_layers": (
        *("first_layer=patches", *FEW, "encoder.mean_pixel=50", "rule.w_norm=15", "first_layer.block=2"),
        *("first_layer.dataset.height=3", "first_layer.dataset.width=3", "first_layer.n_exc=6"),
    ),
}
IMAGES = np.zeros((9, 8, 8), np.uint8)  # the last one stays black
for n in range(8):
    IMAGES[n, n] = IMAGES[n, :, n] = 220
    IMAGES[n, (n + 3) % 8] = 110


def answers_of(path):
    """Return the digests of a network's arrays, its spike counts and its answers."""
    network = stdp_run.load(path)
    answers, first = network.classify(IMAGES), network.first_layer
    arrays = {**network.state.arrays(), **({} if first is None else {"first_layer": first.state.weight})}
    digests = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
    return {"sha256": digests, "counts": answers.counts.tolist(), "names": list(answers.names)}


# The other kinds have kernels that compile for 10 s.
@pytest.mark.parametrize("kind", [k if k == "currents" else pytest.param(k, marks=pytest.mark.slow) for k in KINDS])
def test_checkpoints_of_earlier_versions_answer_as_they_did(kind):
    expected = json.loads((FOLDER / "checkpoints.json").read_text())[kind]
    assert np.array(expected["counts"]).sum() > 20
    assert answers_of(FOLDER / f"{kind}.pt") == expected


def test_a_file_of_another_format_names_the_versions_that_wrote_and_read_it(tmp_path, monkeypatch):
    saved, path = checkpoint.load(FOLDER / "currents.pt"), tmp_path / "checkpoint.pt"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", 9)
        patch.setattr(checkpoint, "_version", lambda: "9.8.7")
        checkpoint.save(path, replace(saved, engine=["quantum", "qpu"]))
    assert torch.load(path, weights_only=True)["version"] == "9.8.7"
    reader = f"stdp-run {stdp_run.__version__} reads format {checkpoint.FORMAT}"
    line = f"checkpoint={path}: stdp-run 9.8.7 wrote it in format 9; {reader}"
    assert message_of(lambda: stdp_run.load(path)).endswith(line)


def write() -> None:
    """Train the networks, and write their checkpoints and answers."""
    expected = {}
    for kind, words in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            run_in(Path(folder), *words)
            shutil.copy(Path(folder, "checkpoint.pt"), FOLDER / f"{kind}.pt")
        expected[kind] = answers_of(FOLDER / f"{kind}.pt")
    (FOLDER / "checkpoints.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    write()
