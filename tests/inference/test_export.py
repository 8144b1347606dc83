"""Exported files: the arrays of the checkpoint, readable and sufficient without this program."""

import json
import sys
import zlib

import numpy as np
import pytest
from helpers.errors import message_of
from helpers.runs import settings_of

from stdp_run import checkpoint
from stdp_run.config.build import build_model
from stdp_run.encoding import SPIKES_EVALUATING, spikes_below
from stdp_run.inference.export import export
from stdp_run.inference.load import load
from stdp_run.network import initial_state


def read_npz(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_exported_files_hold_the_network(finished_run, tmp_path):
    assert export(finished_run, tmp_path / "network.npz") == tmp_path / "network.npz"
    assert [path.name for path in tmp_path.iterdir()] == ["network.npz"]
    arrays, saved = read_npz(tmp_path / "network.npz"), checkpoint.load(finished_run / "checkpoint.pt")
    expected = {**saved.state_dict, "label": saved.labels["label"], "mean_count": saved.labels["mean_count"]}
    np.testing.assert_equal({name: arrays[name] for name in expected}, expected)
    assert arrays["weight"].dtype == np.float32 and arrays["theta"].dtype == np.float64
    assert arrays["classes"].tolist() == list("0123456789")
    assert json.loads(arrays["settings"].item()) == saved.config
    safetensors, of_numpy = pytest.importorskip("safetensors"), pytest.importorskip("safetensors.numpy")
    export(finished_run / "checkpoint.pt", str(tmp_path / "network.safetensors"))
    np.testing.assert_equal(of_numpy.load_file(tmp_path / "network.safetensors"), expected)
    with safetensors.safe_open(tmp_path / "network.safetensors", "numpy") as file:
        metadata = file.metadata()
    assert json.loads(metadata["classes"]) == list("0123456789")
    assert metadata["settings"] == arrays["settings"].item() and metadata["layout"] == arrays["layout"].item()


def test_export_says_what_is_missing_or_wrong(finished_run, tmp_path, monkeypatch):
    def refused(name, run=finished_run):
        return message_of(lambda: export(run, tmp_path / name))

    for name in ("network.pt", "network", "network.npz.bak", "network.nir.bak"):
        allowed = ".npz, .safetensors, .snntorch.nir, .sinabs.nir, .spyx.nir or .nir"
        assert f"{name}: must be a file that ends in {allowed}" in refused(name)
    assert "nowhere/network.npz: cannot be written" in refused("nowhere/network.npz")
    for package in ("safetensors", "safetensors.numpy", "nir"):
        monkeypatch.setitem(sys.modules, package, None)
    assert 'needs the package safetensors: pip install "stdp_run[export]"' in refused("network.safetensors")
    for run in (finished_run, tmp_path / "nowhere"):  # asked first
        assert 'needs the package nir: pip install "stdp_run[nir]"' in refused("network.snntorch.nir", run)
    assert list(tmp_path.iterdir()) == []


def count_spikes(weights, theta, constants, encoder, seed, pixels):
    """Return the spikes of each neuron for one picture: the network stated again, from the exported file alone."""
    import torch

    probability = np.minimum(1, encoder["max_rate_hz"] * encoder["dt"] / 1000 * np.arange(256) / 255)
    limits = torch.from_numpy(np.floor(probability * 2.0**32).astype(np.int64)[pixels])[None]
    index = torch.tensor([zlib.crc32(pixels.tobytes()) & 0x7FFFFFFF])
    spikes = spikes_below(limits, index, 0, 0, encoder["steps"], seed, SPIKES_EVALUATING)[:, 0].numpy()
    c = constants
    v = np.full(len(weights), c["v_rest"])
    inhibitory_v = np.full(len(weights), c["inhibitory_v_rest"])
    refractory, inhibitory_refractory = np.zeros(len(weights), int), np.zeros(len(weights), int)
    inhibitory, counts = np.zeros(len(weights)), np.zeros(len(weights), int)
    for step in spikes:
        current = weights @ step.astype(float) - c["w_ie"] * (inhibitory.sum() - inhibitory)
        v = np.exp(-encoder["dt"] / c["tau_v"]) * (v - c["v_rest"]) + c["v_rest"] + np.where(refractory > 0, 0, current)
        refractory = np.maximum(refractory - 1, 0)
        fired = v > c["v_threshold"] + theta
        v[fired], refractory[fired] = c["v_reset"], c["refractory"]
        counts += fired
        decay = np.exp(-encoder["dt"] / c["tau_inhibitory"])
        drive = np.where(inhibitory_refractory > 0, 0, c["w_ei"] * fired)
        inhibitory_v = decay * (inhibitory_v - c["inhibitory_v_rest"]) + c["inhibitory_v_rest"] + drive
        inhibitory_refractory = np.maximum(inhibitory_refractory - 1, 0)
        inhibitory = (inhibitory_v > c["inhibitory_v_threshold"]).astype(float)
        inhibitory_v[inhibitory > 0] = c["inhibitory_v_reset"]
        inhibitory_refractory[inhibitory > 0] = c["inhibitory_refractory"]
    return counts


@pytest.mark.parametrize("rule", ["nearest_online", "post_pre_int"])
def test_the_exported_arrays_are_enough_to_compute_the_answers(tmp_path, mnist, monkeypatch, rule):
    """With double precision, as sums are added in another order; diehl_cook is the group stated above."""
    monkeypatch.setattr("stdp_run.engines.selection.choose", lambda *_: ("torch", "cpu"))
    integer = rule == "post_pre_int"
    group = () if integer else ("neuron=diehl_cook", "dtype=float64")
    settings = settings_of(f"rule={rule}", *group, "n_exc=20", "seed=4")
    labels = {"label": np.arange(20) % 10, "mean_count": np.ones((10, 20)), "classes": [*"0123456789"]}
    labels["calibration"] = {}
    state = initial_state(build_model(settings)).arrays()  # of an untrained network
    checkpoint.save(tmp_path / "x.pt", checkpoint.Checkpoint(settings.record, [], state, labels=labels))
    export(tmp_path / "x.pt", tmp_path / "network.npz")
    arrays, images = read_npz(tmp_path / "network.npz"), mnist.test.pixels[:20]
    assert arrays["weight"].dtype == (np.int32 if integer else np.float64)
    answers, settings = load(tmp_path / "x.pt").classify(images), json.loads(arrays["settings"].item())
    assert answers.counts.shape == (20, 20)
    for n, picture in () if integer else enumerate(images):
        constants, encoder = settings["neuron"], settings["encoder"]
        counts = count_spikes(arrays["weight"], arrays["theta"], constants, encoder, 4, picture.ravel())
        assert np.array_equal(counts, answers.counts[n]) and answers.counts.sum() > 20
