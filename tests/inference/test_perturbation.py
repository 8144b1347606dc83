"""Perturbations against hand-made tables and plain loops; a stronger one affects a superset."""

from functools import partial

import numpy as np
import pytest
import yaml
from helpers.errors import message_of
from helpers.networks import ENGINES, count, learn, make, make_model, mnist, same_bits
from helpers.pages import write_files
from helpers.runs import result_of, run_in, settings_of
from scipy import ndimage

from stdp_run.commands.evaluate import _first_layer_perturbed
from stdp_run.config.build import conf_folder
from stdp_run.config.custom_code import name_folder
from stdp_run.config.schema import Settings, read_settings
from stdp_run.encoding import PERTURBED_IMAGES, philox, words_of_images
from stdp_run.evaluation import metrics
from stdp_run.inference.load import Trained
from stdp_run.inference.perturbation import Perturbation, build_perturbation, perturbed_images
from stdp_run.network import NetworkState
from stdp_run.training.result import judged

CHOICES = sorted(file.stem for file in (conf_folder() / "perturbation").glob("*.yaml") if file.stem != "none")
SEED, INDEX = 5, np.arange(40)
IMAGES = np.random.default_rng(1).integers(1, 255, size=(40, 6, 5)).astype(np.uint8)


def settings_with(name: str, **values: object) -> Settings:
    """Return the settings of mode=eval with a perturbation and other `values` for some keys."""
    section = yaml.safe_load((conf_folder() / "perturbation" / f"{name}.yaml").read_text()) | values
    return read_settings({**settings_of("mode=eval", "checkpoint=c.pt").record, "perturbation": section})


def made(name: str, strength: object) -> Perturbation:
    """Return a perturbation of that strength."""
    return build_perturbation(settings_with(name, strength=strength))


def perturbed(name: str, strength: object, images: np.ndarray = IMAGES, index: np.ndarray = INDEX) -> np.ndarray:
    return made(name, strength).images(images, index, SEED)


@pytest.mark.parametrize(
    ("bits", "weight", "expected"),
    [
        (2, [[0.0, 0.24, 0.26, 1.5], [0.7, 0.8, 1.2, 1.3]], [[0, 0, 0.5, 1.5], [0.5, 1, 1, 1.5]]),
        (2, [[-1.0, 0.4, 2.0, 0.1]], [[-1, 0, 2, 0]]),  # -1, 0, 1, 2
        (2, [[0, 16, 17, 49, 51, 83, 84, 100]], [[0, 0, 33, 33, 67, 67, 100, 100]]),
        (7, [[0, 16, 17, 49, 51, 83, 84, 100]], [[0, 16, 17, 49, 51, 83, 84, 100]]),  # more levels than whole numbers
    ],
)
def test_weights_take_the_nearest_of_2_to_the_n_levels(bits, weight, expected):
    weight = np.array(weight)
    weight = weight.astype(np.int32 if weight.dtype.kind == "i" else np.float32)
    after = made("weight_bits", bits).network(NetworkState(weight, np.zeros(len(weight))), SEED).weight
    assert after.dtype == weight.dtype and np.allclose(after, expected, atol=1e-7)


@pytest.mark.parametrize("name", ["neuron_lesion", "synapse_lesion"])
def test_a_larger_share_loses_the_same_and_more_and_so_many_are_lost(name):
    state = NetworkState(np.full((50, 8), 2.0), np.ones(50))

    def lost(share: float, seed: int = SEED) -> np.ndarray:
        after = made(name, share).network(state, seed)
        assert (after.weight == 2).all() if name == "neuron_lesion" else (after.theta == 1).all()
        return after.theta > 1e6 if name == "neuron_lesion" else after.weight == 0

    before = lost(0)
    for share in (0, 0.1, 0.37, 0.9, 1):
        now = lost(share)
        assert now.mean() == pytest.approx(share, abs=0.5 / now.size + 1e-9) and (now | ~before).all()
        before = now
    assert (lost(0.5) != lost(0.5, seed=6)).any()


@pytest.mark.parametrize("engine", ["torch", pytest.param("event", marks=pytest.mark.slow)])
@pytest.mark.parametrize("pair", [("nearest_online", "diehl_cook"), ("post_pre_int", "diehl_cook_int")], ids="-".join)
def test_neuron_lesion_neither_fire_nor_inhibit(pair, engine):
    """The others fire as they do in a network without them."""
    model, images = make_model(pair), mnist(2)[:30]
    network = make("torch", model)
    learn(network, images[:20])
    state = network.state()
    counts = count(ENGINES[engine](model, state), images)
    ways = (made("neuron_lesion", 0.4).network(state, seed) for seed in range(99))
    less = next(each for each in ways if each.theta[counts.sum(axis=0).argmax()] > 1e6)  # one that fires often is lost
    is_lost = less.theta != state.theta
    left = count(ENGINES[engine](model, less), images)
    kept = NetworkState(state.weight[~is_lost], state.theta[~is_lost])
    without = count(ENGINES[engine](make_model(pair, n_exc=len(kept.theta)), kept), images)
    assert not left[:, is_lost].any()
    assert (left[:, ~is_lost] == without).all()
    assert (without != counts[:, ~is_lost]).any()


def test_images_are_shifted_in_one_of_four_directions():
    direction = {}
    for far in (1, 2):
        for number, (before, after) in enumerate(zip(IMAGES, perturbed("shift", far), strict=True)):
            ways = ((-far, 0), (far, 0), (0, -far), (0, far))
            [found] = [k for k, way in enumerate(ways) if (ndimage.shift(before, way, order=0) == after).all()]
            assert direction.setdefault(number, found) == found, "the image has its direction, however far"
    assert set(direction.values()) == {0, 1, 2, 3}
    assert not perturbed("shift", 6).any() and not perturbed("shift", 10**9).any()


def test_salt_and_pepper_strike_a_share_of_the_pixels_alike():
    images = np.full((60, 28, 28), 100, np.uint8)
    index, before = np.arange(60), images
    for share in (0.1, 0.3, 1.0):
        after = perturbed("salt_and_pepper", share, images, index)
        struck = after != 100
        for value in (0, 255):
            assert (after == value).mean() == pytest.approx(share / 2, abs=0.006)  # 4 standard deviations
        assert (after == before)[before != 100].all()
        before = after
    assert struck.all()
    assert not (after[0] == after[1]).all()


def test_a_bar_hides_whole_rows_or_columns_and_a_wider_one_hides_more():
    before, levels = np.zeros(IMAGES.shape, bool), set()
    for width in (1, 2, 4):
        hidden = perturbed("occlusion", width) == 0
        for each in hidden:
            level = (each == each[:, :1]).all()
            line = each[:, 0] if level else each[0]
            assert (each == (line[:, None] if level else line)).all()
            assert line.sum() == width == np.ptp(np.flatnonzero(line)) + 1
            levels.add(level)
        assert hidden[before].all() and (perturbed("occlusion", width)[~hidden] == IMAGES[~hidden]).all()
        before = hidden
    assert levels == {True, False} and not perturbed("occlusion", 6).any()


def test_brightness_is_added_and_clipped():
    images = np.array([[[0, 10, 250, 255]]], np.uint8)
    assert perturbed("brightness", 20, images).tolist() == [[[20, 30, 255, 255]]]
    assert perturbed("brightness", -20, images).tolist() == [[[0, 0, 230, 235]]]


@pytest.mark.parametrize("name", ["occlusion", "brightness", "salt_and_pepper", "shift"])
def test_what_befalls_an_image_follows_from_its_index_and_the_seed(name, monkeypatch):
    strength = 20 if name == "brightness" else 0.5 if name == "salt_and_pepper" else 2
    words = ("dataset=image_folder", "dataset.height=6", "dataset.width=5", f"seed={SEED}")
    settings = settings_of("mode=eval", "checkpoint=c.pt", *words)
    monkeypatch.setattr(metrics, "IMAGES_AT_ONCE", 7)
    flat = perturbed_images(made(name, strength), IMAGES.reshape(40, -1), INDEX, settings)
    expected = perturbed(name, strength)
    assert (flat == expected.reshape(40, -1)).all()
    some = np.array([30, 2, 17])
    assert (perturbed(name, strength, IMAGES[some], some) == expected[some]).all()
    assert ((made(name, strength).images(IMAGES, INDEX, SEED + 1) == expected).all()) == (name == "brightness")


def test_words_of_an_image_are_those_of_its_counters():
    words = words_of_images(np.array([3, 70000]), 6, seed=9)
    for row, index in enumerate((3, 70000)):
        for number in range(6):
            assert words[row, number] == philox(number // 4, 0, index, 0, 9, PERTURBED_IMAGES)[number % 4]


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_has_a_strength_that_is_allowed_and_one_that_changes_nothing(name):
    values = yaml.safe_load((conf_folder() / "perturbation" / f"{name}.yaml").read_text())
    assert values["name"] == name and made(name, values["strength"]).described()["strength"] == values["strength"]
    found, state = made(name, 32 if name == "weight_bits" else 0), NetworkState(np.eye(9, 7, dtype="f4"), np.ones(9))
    assert found.harmless == (None if name == "weight_bits" else 0)
    assert (found.images(IMAGES, INDEX, SEED) == IMAGES).all()
    assert same_bits(found.network(state, SEED), state)


@pytest.mark.usefixtures("without_plots")
def test_a_network_is_evaluated_under_a_perturbation_as_it_has_learned(tmp_path, finished_run):
    command = ("mode=eval", f"checkpoint={finished_run}/checkpoint.pt")
    run_in(tmp_path / "none", *command)
    for share in (0, 0.5, 1):
        run_in(tmp_path / str(share), *command, "perturbation=neuron_lesion", f"perturbation.strength={share}")
    none, zero, half, everything = (result_of(tmp_path / name) for name in ("none", "0", "0.5", "1"))
    constants = {"strength": 0.5, "axis": "share of neurons lost", "harmless": 0.0}
    assert "perturbation" not in none and half["perturbation"] == {"name": "neuron_lesion", **constants}
    assert zero["confusion"] == none["confusion"] and zero["spikes_per_image"] == none["spikes_per_image"]
    assert everything["spikes_per_image"] == judged(everything) == 0
    assert 0.3 < judged(half) < judged(none)
    assert half["silent_neurons"] == none["silent_neurons"], "labels are those that were learned"


def test_both_layers_lose_their_share():
    settings = settings_of("first_layer=patches", "first_layer.seed=4")
    trained = Trained(None, settings, None, None, (), NetworkState(np.ones((32, 25)), np.zeros(32)))
    after = _first_layer_perturbed(made("neuron_lesion", 0.25), trained).first_layer
    assert (after.theta > 0).sum() == 8
    assert (after.theta == made("neuron_lesion", 0.25).network(trained.first_layer, 4).theta).all()
    assert _first_layer_perturbed(made("shift", 1), trained._replace(first_layer=None)).first_layer is None


@pytest.mark.usefixtures("without_plots")
def test_the_custom_perturbation_of_the_page_is_applied(tmp_path, finished_run):
    write_files(tmp_path)
    name_folder(tmp_path / "mine")
    words = ("perturbation=shift", "perturbation._target_=thinner.Thinner", "n_test=50")
    for strength in (0, 14):
        path, word = tmp_path / str(strength), f"perturbation.strength={strength}"
        run_in(path, "mode=eval", f"checkpoint={finished_run}/checkpoint.pt", *words, word)
        assert (result_of(path)["spikes_per_image"] == 0) == (strength == 14), "only the margin is left, which is black"


def test_bad_input_gets_a_line():
    for name, key, value, problem in (
        ("weight_bits", "strength", 0, "must be a whole number from 1 to 32"),
        ("neuron_lesion", "strength", 1.5, "must be a share from 0 to 1"),
        ("brightness", "strength", 256, "must be a whole number from -255 to 255"),
        ("shift", "strength", -1, "must be a whole number of 0 or more"),
        ("occlusion", "width", 3, "unknown key; known keys: strength"),
        ("shift", "_target_", "stdp_run.rules.Rule", "must be a class "),
    ):
        line = message_of(partial(build_perturbation, settings_with(name, **{key: value})))
        assert line.startswith(f"perturbation.{key}={value}: {problem}")
    other = {**settings_with("shift").record, "mode": "train", "checkpoint": None}
    assert message_of(lambda: read_settings(other)).endswith("perturbation=shift: only valid with mode=eval")
