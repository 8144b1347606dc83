"""Exported files: the arrays of the checkpoint, readable and sufficient without this program."""

import json
import sys
import zlib

import numpy as np
import pytest
from helpers.runs import settings_of

from stdp_run import checkpoint
from stdp_run.config.build import build_model
from stdp_run.encoding import SPIKES_EVALUATING, spikes_below
from stdp_run.errors import UserError
from stdp_run.inference.export import export
from stdp_run.inference.load import load
from stdp_run.network import initial_state


def read_npz(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_an_exported_npz_holds_the_network(finished_run, tmp_path):
    assert export(finished_run, tmp_path / "network.npz") == tmp_path / "network.npz"
    arrays = read_npz(tmp_path / "network.npz")
    assert arrays["weight"].shape == (100, 784) and arrays["weight"].dtype == np.float32
    assert arrays["theta"].shape == (100,) and arrays["theta"].dtype == np.float64
    assert arrays["label"].shape == (100,) and arrays["mean_count"].shape == (10, 100)
    assert arrays["classes"].tolist() == list("0123456789")
    saved = checkpoint.load(finished_run / "checkpoint.pt")
    assert np.array_equal(arrays["weight"], saved.arrays["weight"])
    assert np.array_equal(arrays["theta"], saved.arrays["theta"])
    assert json.loads(arrays["settings"].item()) == saved.config
    assert [path.name for path in tmp_path.iterdir()] == ["network.npz"]


def test_an_exported_safetensors_holds_the_same(finished_run, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    numpy_part = pytest.importorskip("safetensors.numpy")
    export(finished_run, tmp_path / "network.npz")
    export(finished_run / "checkpoint.pt", str(tmp_path / "network.safetensors"))
    expected = read_npz(tmp_path / "network.npz")
    arrays = numpy_part.load_file(tmp_path / "network.safetensors")
    assert set(arrays) == {"weight", "theta", "label", "mean_count"}
    for name, array in arrays.items():
        assert array.dtype == expected[name].dtype and np.array_equal(array, expected[name])
    with safetensors.safe_open(tmp_path / "network.safetensors", "numpy") as file:
        metadata = file.metadata()
    assert json.loads(metadata["classes"]) == list("0123456789")
    assert metadata["settings"] == expected["settings"].item() and metadata["layout"] == expected["layout"].item()


def test_export_says_what_is_missing_or_wrong(finished_run, tmp_path, monkeypatch):
    for name in ("network.pt", "network", "network.npz.bak", "network.nir.bak"):
        allowed = r"\.npz, \.safetensors, \.snntorch\.nir, \.sinabs\.nir, \.spyx\.nir or \.nir"
        with pytest.raises(UserError, match=rf"export.to=.*{name}: must be a file that ends in {allowed}"):
            export(finished_run, tmp_path / name)
    with pytest.raises(UserError, match=r"nowhere.network\.npz: cannot be written"):
        export(finished_run, tmp_path / "nowhere" / "network.npz")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(UserError, match=r'needs the package safetensors: pip install "stdp_run\[export\]"'):
        export(finished_run, tmp_path / "network.safetensors")
    monkeypatch.setitem(sys.modules, "nir", None)
    for path in (finished_run, tmp_path / "nowhere"):  # asked first
        with pytest.raises(UserError, match=r'needs the package nir: pip install "stdp_run\[nir\]"'):
            export(path, tmp_path / "network.snntorch.nir")
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


@pytest.fixture
def untrained(tmp_path, monkeypatch):
    """Return a function that makes the checkpoint of a network as it begins, labelled; the torch engine runs it."""
    monkeypatch.setattr("stdp_run.engines.selection.choose", lambda *_: ("torch", "cpu"))

    def make(*overrides):
        settings = settings_of(*overrides)
        state = initial_state(build_model(settings))
        n_exc = settings.n_exc
        extra = {"label": np.arange(n_exc) % 10, "mean_count": np.ones((10, n_exc)), "classes": list("0123456789")}
        checkpoint.save(tmp_path / "x.pt", checkpoint.Checkpoint(settings.record, state.arrays(), extra=extra))
        return tmp_path / "x.pt"

    return make


def test_the_exported_arrays_are_enough_to_compute_the_answers(untrained, tmp_path, mnist):
    """With double precision, as sums are added in another order; diehl_cook is the group stated above."""
    path = untrained("neuron=diehl_cook", "dtype=float64", "n_exc=20", "seed=4")
    export(path, tmp_path / "network.npz")
    images = mnist.test.pixels[:20]
    arrays = read_npz(tmp_path / "network.npz")
    settings = json.loads(arrays["settings"].item())
    answers = load(path).classify(images)
    for n, picture in enumerate(images):
        constants, encoder = settings["neuron"], settings["encoder"]
        counts = count_spikes(arrays["weight"], arrays["theta"], constants, encoder, 4, picture.ravel())
        assert np.array_equal(counts, answers.counts[n])
    assert answers.counts.sum() > 20


def test_an_integer_network_exports_integers(untrained, tmp_path):
    path = untrained("rule=post_pre_int", "n_exc=20")
    export(path, tmp_path / "network.npz")
    arrays = read_npz(tmp_path / "network.npz")
    assert arrays["weight"].dtype == arrays["theta"].dtype == np.int32
    assert load(path).classify(np.zeros((28, 28), np.uint8)).names == (None,)
