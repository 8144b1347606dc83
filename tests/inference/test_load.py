"""The trained network from Python: a real run's checkpoint, loaded, asked, and exported."""

import json
import subprocess
import sys
import zlib

import numpy as np
import pytest

from stdp_run.encoding import SPIKES_EVALUATING, poisson_spikes
from stdp_run.errors import UserError
from stdp_run.inference import load as trained
from stdp_run.training import checkpoint


def learned(folder, *arguments):
    """Run `stdp-run` to the end in `folder`; return the run's directory."""
    words = [sys.executable, "-m", "stdp_run.cli", "hydra.run.dir=run", "n_test=200", *arguments]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return learned(tmp_path_factory.mktemp("learned"), "n_exc=100", "n_train=3000")


@pytest.fixture(scope="module")
def network(run):
    return trained.load(run)


@pytest.fixture(scope="module")
def images(mnist):
    return mnist.test.pixels[:300].reshape(-1, 28, 28)


def test_it_recognises_digits(network, images, mnist):
    answers = network.classify(images)
    classes = mnist.test.labels[:300]
    assert (answers.class_index == classes).mean() > 0.65
    assert answers.names == tuple(str(index) for index in answers.class_index)
    assert answers.classes == tuple("0123456789")
    assert answers.counts.shape == (300, 100) and answers.counts.sum() > 0
    right = answers.class_index == classes
    assert answers.confidence[right].mean() > answers.confidence[~right].mean() + 0.1


def test_score_and_confidence_come_of_the_counts(network, images):
    answers = network.classify(images[:50])
    label = network.labels.label
    for n in range(50):
        score = np.array([answers.counts[n, label == c].mean() if (label == c).any() else 0 for c in range(10)])
        assert answers.score[n] == pytest.approx(score)
        assert answers.class_index[n] == score.argmax()
        assert answers.confidence[n] == pytest.approx(score.max() / score.sum())


def test_a_picture_gets_the_same_answer_wherever_it_stands(run, network, images):
    together = network.classify(images)
    order = np.random.default_rng(0).permutation(len(images))
    assert np.array_equal(network.classify(images[order]).counts, together.counts[order])
    for n in (0, 7, 299):
        alone = network.classify(images[n])
        assert np.array_equal(alone.counts[0], together.counts[n])
        assert alone.confidence[0] == together.confidence[n]
    flat = trained.load(run / "checkpoint.pt", threads=1).classify(images.reshape(300, 784))
    assert np.array_equal(flat.counts, together.counts)


def test_without_spikes_there_is_no_answer(network, images):
    answers = network.classify(np.stack([images[0], np.zeros((28, 28), np.uint8)]))
    assert answers.names[0] is not None and answers.names[1] is None
    assert answers.class_index[1] == -1 and answers.confidence[1] == 0 and not answers.counts[1].any()
    none = network.classify(np.zeros((0, 28, 28), np.uint8))
    assert none.names == () and none.counts.shape == (0, 100) and none.score.shape == (0, 10)


@pytest.mark.parametrize("wrong", [(28, 27), (2, 27, 28), (3, 783), (784,), (1, 1, 28, 28), ()])
def test_other_shapes_and_types_are_refused(network, wrong):
    with pytest.raises(UserError, match=r"must be uint8 \[N, 28, 28\], \[N, 784\] or \[28, 28\]"):
        network.classify(np.zeros(wrong, np.uint8))
    with pytest.raises(UserError, match="images of type float32"):
        network.classify(np.zeros((2, 28, 28), np.float32))


def test_what_is_no_finished_run_is_refused(run, tmp_path):
    with pytest.raises(UserError, match=r"checkpoint=.*nowhere: cannot be read"):
        trained.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"checkpoint=.*must be a finished run: there is no checkpoint\.pt"):
        trained.load(tmp_path)
    saved = checkpoint.load(run / "checkpoint.pt")
    checkpoint.save(tmp_path / "early.pt", checkpoint.Checkpoint(saved.config, saved.arrays))
    for use in (trained.load, lambda path: trained.export(path, tmp_path / "x.npz")):
        with pytest.raises(UserError, match=r"early\.pt: must be .*not labelled yet"):
            use(tmp_path / "early.pt")
    with pytest.raises(UserError, match="threads=0: must be a whole number of 1 or more, or null"):
        trained.load(run, threads=0)


def test_classes_are_named_by_the_checkpoint_else_by_the_data_set(run, tmp_path):
    saved = checkpoint.load(run / "checkpoint.pt")
    extra = {name: saved.extra[name] for name in ("label", "mean_count")}
    clothes = {**saved.config["dataset"], "_target_": "stdp_run.datasets.FashionMNIST", "name": "fashion_mnist"}
    cases = {
        "own": (saved.config, {**extra, "classes": list("abcdefghij")}, "a"),
        "data": ({**saved.config, "dataset": clothes}, extra, "T-shirt/top"),
    }
    for name, (config, content, first) in cases.items():
        checkpoint.save(tmp_path / name, checkpoint.Checkpoint(config, saved.arrays, extra=content))
        assert trained.load(tmp_path / name).classes[0] == first


def read_npz(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_an_exported_npz_holds_the_network(run, network, tmp_path):
    assert trained.export(run, tmp_path / "network.npz") == tmp_path / "network.npz"
    arrays = read_npz(tmp_path / "network.npz")
    assert arrays["weight"].shape == (100, 784) and arrays["weight"].dtype == np.float32
    assert arrays["theta"].shape == (100,) and arrays["theta"].dtype == np.float64
    assert arrays["label"].shape == (100,) and arrays["mean_count"].shape == (10, 100)
    assert arrays["classes"].tolist() == list("0123456789")
    saved = checkpoint.load(run / "checkpoint.pt")
    assert np.array_equal(arrays["weight"], saved.arrays["weight"])
    assert np.array_equal(arrays["theta"], saved.arrays["theta"])
    assert json.loads(arrays["settings"].item()) == saved.config
    assert [path.name for path in tmp_path.iterdir()] == ["network.npz"]


def test_an_exported_safetensors_holds_the_same(run, tmp_path):
    safetensors = pytest.importorskip("safetensors")
    numpy_part = pytest.importorskip("safetensors.numpy")
    trained.export(run, tmp_path / "network.npz")
    trained.export(run / "checkpoint.pt", str(tmp_path / "network.safetensors"))
    expected = read_npz(tmp_path / "network.npz")
    arrays = numpy_part.load_file(tmp_path / "network.safetensors")
    assert set(arrays) == {"weight", "theta", "label", "mean_count"}
    for name, array in arrays.items():
        assert array.dtype == expected[name].dtype and np.array_equal(array, expected[name])
    with safetensors.safe_open(tmp_path / "network.safetensors", "numpy") as file:
        metadata = file.metadata()
    assert json.loads(metadata["classes"]) == list("0123456789")
    assert metadata["settings"] == expected["settings"].item() and metadata["layout"] == expected["layout"].item()


def test_export_says_what_is_missing_or_wrong(run, tmp_path, monkeypatch):
    for name in ("network.pt", "network", "network.npz.bak"):
        with pytest.raises(UserError, match=rf"to=.*{name}: must be a file that ends in \.safetensors or \.npz"):
            trained.export(run, tmp_path / name)
    with pytest.raises(UserError, match=r"nowhere.network\.npz: cannot be written"):
        trained.export(run, tmp_path / "nowhere" / "network.npz")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(UserError, match=r'needs the package safetensors: pip install "stdp_run\[export\]"'):
        trained.export(run, tmp_path / "network.safetensors")
    assert list(tmp_path.iterdir()) == []


def count_spikes(weights, theta, constants, encoder, seed, pixels):
    """Return the spikes of each neuron for one picture: the network stated again, from the exported file alone."""
    import torch

    probability = np.minimum(1, encoder["max_rate_hz"] * encoder["dt"] / 1000 * np.arange(256) / 255)
    limits = torch.from_numpy(np.floor(probability * 2.0**32).astype(np.int64))
    index = torch.tensor([zlib.crc32(pixels.tobytes()) & 0x7FFFFFFF])
    image = torch.from_numpy(pixels.copy())[None]
    spikes = poisson_spikes(image, index, 0, limits, encoder["steps"], seed, SPIKES_EVALUATING)[:, 0].numpy()
    c = constants
    v = np.full(len(weights), c["v_rest"])
    inhibitory_v = np.full(len(weights), c["inhibitory_v_rest"])
    resting, inhibitory_resting = np.zeros(len(weights), int), np.zeros(len(weights), int)
    inhibitory, counts = np.zeros(len(weights)), np.zeros(len(weights), int)
    for step in spikes:
        current = weights @ step.astype(float) - c["w_ie"] * (inhibitory.sum() - inhibitory)
        v = np.exp(-encoder["dt"] / c["tau_v"]) * (v - c["v_rest"]) + c["v_rest"] + np.where(resting > 0, 0, current)
        resting = np.maximum(resting - 1, 0)
        fired = v > c["v_threshold"] + theta
        v[fired], resting[fired] = c["v_reset"], c["refractory"]
        counts += fired
        decay = np.exp(-encoder["dt"] / c["tau_inhibitory"])
        drive = np.where(inhibitory_resting > 0, 0, c["w_ei"] * fired)
        inhibitory_v = decay * (inhibitory_v - c["inhibitory_v_rest"]) + c["inhibitory_v_rest"] + drive
        inhibitory_resting = np.maximum(inhibitory_resting - 1, 0)
        inhibitory = (inhibitory_v > c["inhibitory_v_threshold"]).astype(float)
        inhibitory_v[inhibitory > 0] = c["inhibitory_v_reset"]
        inhibitory_resting[inhibitory > 0] = c["inhibitory_refractory"]
    return counts


def test_the_exported_arrays_are_enough_to_compute_the_answers(tmp_path, images):
    """With double precision, as sums are added in another order; diehl_cook is the group stated above."""
    run = learned(tmp_path, "neuron=diehl_cook", "n_exc=20", "n_train=300", "dtype=float64", "seed=4")
    trained.export(run, tmp_path / "network.npz")
    arrays = read_npz(tmp_path / "network.npz")
    settings = json.loads(arrays["settings"].item())
    answers = trained.load(run).classify(images[:20])
    weights, theta = arrays["weight"], arrays["theta"]
    for n, picture in enumerate(images[:20]):
        counts = count_spikes(weights, theta, settings["neuron"], settings["encoder"], 4, picture.ravel())
        assert np.array_equal(counts, answers.counts[n])
    assert answers.counts.sum() > 20


def test_an_integer_network_exports_integers(tmp_path):
    run = learned(tmp_path, "rule=post_pre_int", "n_exc=20", "n_train=60", "n_label=60")
    trained.export(run, tmp_path / "network.npz")
    arrays = read_npz(tmp_path / "network.npz")
    assert arrays["weight"].dtype == arrays["theta"].dtype == np.int32
    assert trained.load(run).classify(np.zeros((28, 28), np.uint8)).names == (None,)


def test_load_is_at_hand_and_importing_stays_fast(run):
    program = f"""
import sys, stdp_run
assert "torch" not in sys.modules and "numpy" not in sys.modules
print(len(stdp_run.load({str(run)!r}).classes))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=600)
    assert done.stdout == "10\n", done.stderr
