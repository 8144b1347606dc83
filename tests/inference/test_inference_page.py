"""The program of docs/use/inference.md counts the spikes that the torch engine counts, and draws them alike."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stdp_run import checkpoint
from stdp_run.engines.dense.presentation import record_spikes
from stdp_run.inference.export import export
from stdp_run.inference.load import read_trained

PAGE = Path(__file__).parents[2] / "docs/use/inference.md"
PROGRAM = re.search(r"<!-- program: inference -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize(("refractory", "w_ie"), [(0, None), (5, None), (0, 40.0)])
def test_the_program_counts_and_draws_the_spikes_of_the_engine(refractory, w_ie, finished_run, tmp_path, mnist):
    saved, path = checkpoint.load(finished_run / "checkpoint.pt"), tmp_path / "network.npz"
    config = {**saved.config, "dtype": "float64", "neuron": {**saved.config["neuron"], "refractory": refractory}}
    config["evaluator"] = {**config["evaluator"], "w_ie": w_ie}
    arrays = {**saved.state_dict, "weight": saved.state_dict["weight"].astype(np.float64)}
    checkpoint.save(tmp_path / "run.pt", replace(saved, config=config, state_dict=arrays))
    exec(PROGRAM[1].replace("network.npz", str(export(tmp_path / "run.pt", path))), program := {})
    trained, images = read_trained(tmp_path / "run.pt"), mnist.test.pixels[:40].reshape(40, -1)
    inputs, excitatory, _ = record_spikes(trained.model, trained.saved.state(), images, np.arange(40))
    counts = np.array([program["count_spikes"](spikes) for spikes in inputs])
    assert counts.any(axis=1).all() and np.array_equal(counts, excitatory.sum(axis=1))
    answers = [program["answer"](image, np.random.default_rng(0)) for image in images]
    assert np.mean(np.array(answers) == mnist.test.labels[:40].astype(str)) > 0.6
    fixed = SimpleNamespace(random=lambda shape: np.full(shape, 0.05))  # an input spikes where its probability is above
    own, changed = trained.model.encoder, {"gamma": 0.5, "mean_pixel": 33.0}
    for encoder in (own, replace(own, **changed), replace(own, on_off=True), replace(own, **changed, on_off=True)):
        program["encoder"].update(gamma=encoder.gamma, mean_pixel=encoder.mean_pixel, on_off=encoder.on_off)
        spikes = np.array([program["encode"](image, fixed)[0] for image in images])
        assert np.array_equal(spikes, encoder.limits(images) > 0.05 * 2.0**32)
