"""Exported files hold the arrays of the checkpoint; test_pages.py answers from one of them."""

import json
import sys

import numpy as np
import pytest
from helpers.errors import message_of

from stdp_run import checkpoint
from stdp_run.inference.export import export


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


def test_the_ending_says_for_which_importer_a_graph_is(finished_run, tmp_path):
    graph = pytest.importorskip("nir").read(export(finished_run, tmp_path / "network.spyx.nir"))
    assert graph.metadata["importer"] == "Spyx"


def test_export_says_what_is_missing_or_wrong(finished_run, tmp_path, monkeypatch):
    def refused(name, run=finished_run):
        return message_of(lambda: export(run, tmp_path / name))

    for name in ("network.pt", "network", "network.npz.bak", "network.nir.bak"):
        allowed = ".npz, .safetensors, .snntorch.nir, .sinabs.nir, .spyx.nir or .nir"
        assert f"{name}: must be a file that ends in {allowed}" in refused(name)
    assert "nowhere/network.npz: cannot be written" in refused("nowhere/network.npz")
    for package in ("safetensors", "safetensors.numpy", "nir"):
        monkeypatch.setitem(sys.modules, package, None)
    assert 'needs the package safetensors: pip install "stdp-run[export]"' in refused("network.safetensors")
    for run in (finished_run, tmp_path / "nowhere"):  # asked first
        assert 'needs the package nir: pip install "stdp-run[nir]"' in refused("network.snntorch.nir", run)
    assert list(tmp_path.iterdir()) == []
