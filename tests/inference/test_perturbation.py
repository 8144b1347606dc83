"""Perturbations: what each does, by hand or in plain loops; that more of one strikes what less of it does, and more."""

from functools import cache

import numpy as np
import pytest
import yaml
from helpers.networks import ENGINES, both_engines, count, learned, make_model, mnist, same_bits
from helpers.runs import result_of, run_in, settings_of

from stdp_run.commands.evaluate import _first_layer_perturbed
from stdp_run.config.build import conf_folder
from stdp_run.config.custom_code import name_folder
from stdp_run.config.schema import Settings, read_settings
from stdp_run.encoding import PERTURBED_IMAGES, philox, words_of_images
from stdp_run.errors import UserError
from stdp_run.evaluation import metrics
from stdp_run.inference.load import Trained
from stdp_run.inference.perturbation import Perturbation, build_perturbation, perturbed_images
from stdp_run.network import NetworkState
from stdp_run.training.result import judged

CHOICES = sorted(file.stem for file in (conf_folder() / "perturbation").glob("*.yaml") if file.stem != "none")
OF_IMAGES = ("occlusion", "brightness", "salt_and_pepper", "shift")
SEED, INDEX = 5, np.arange(40)
IMAGES = np.random.default_rng(1).integers(1, 255, size=(40, 6, 5)).astype(np.uint8)


def settings_with(name: str, **values: object) -> Settings:
    """Return the settings of mode=eval with a perturbation, of which some values are others; None: left out."""
    section = yaml.safe_load((conf_folder() / "perturbation" / f"{name}.yaml").read_text()) | values
    section = {key: value for key, value in section.items() if value is not None}
    return read_settings({**evaluating().record, "perturbation": section})


@cache
def evaluating() -> Settings:
    return settings_of("mode=eval", "checkpoint=c.pt")


def made(name: str, strength: object) -> Perturbation:
    """Return a perturbation of that strength."""
    found = build_perturbation(settings_with(name, strength=strength))
    assert found is not None
    return found


def perturbed(name: str, strength: object, images: np.ndarray = IMAGES, index: np.ndarray = INDEX) -> np.ndarray:
    return made(name, strength).images(images, index, SEED)


def weights_after(name: str, strength: object, weight: np.ndarray) -> np.ndarray:
    state = NetworkState(weight, np.zeros(len(weight)))
    after = made(name, strength).network(state, SEED).weight
    assert after.dtype == weight.dtype and after.shape == weight.shape
    return after


@pytest.mark.parametrize(
    ("bits", "weight", "expected"),
    [
        (2, [[0.0, 0.24, 0.26, 1.5], [0.7, 0.8, 1.2, 1.3]], [[0, 0, 0.5, 1.5], [0.5, 1, 1, 1.5]]),
        (1, [[0.0, 0.24, 0.76, 1.5]], [[0, 0, 1.5, 1.5]]),
        (2, [[-1.0, 0.4, 2.0, 0.1]], [[-1, 0, 2, 0]]),  # -1, 0, 1, 2
        (3, [[0.0, 0.0]], [[0, 0]]),
    ],
)
def test_weights_take_the_nearest_of_2_to_the_n_levels(bits, weight, expected):
    assert np.allclose(weights_after("weight_bits", bits, np.array(weight, np.float32)), expected, atol=1e-7)


def test_rounding_is_to_the_nearest_level_for_floats_and_integers():
    weight = np.random.default_rng(2).uniform(0, 3, (7, 11))
    for bits in (1, 3, 8):
        levels = [k * weight.max() / (2**bits - 1) for k in range(2**bits)]
        nearest = [[min(levels, key=lambda level: abs(level - w)) for w in row] for row in weight]
        assert np.allclose(weights_after("weight_bits", bits, weight), nearest, rtol=1e-12)
    whole = np.array([[0, 16, 17, 49, 51, 83, 84, 100]], np.int32)
    assert weights_after("weight_bits", 2, whole).tolist() == [[0, 0, 33, 33, 67, 67, 100, 100]]
    assert (weights_after("weight_bits", 7, whole) == whole).all(), "there are more levels than whole numbers"


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


@both_engines
@pytest.mark.parametrize("pair", [("nearest_online", "diehl_cook"), ("post_pre_int", "diehl_cook_int")], ids="-".join)
def test_neuron_lesion_neither_fire_nor_inhibit(pair, engine):
    """The others fire as they do in a network without them."""
    _, state = learned("torch", pair)
    model, images = make_model(pair), mnist(2)[:30]
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
    def shifted_by_hand(image: np.ndarray, down: int, right: int) -> np.ndarray:
        result = np.zeros_like(image)
        for row, column in np.ndindex(image.shape):
            if 0 <= row - down < image.shape[0] and 0 <= column - right < image.shape[1]:
                result[row, column] = image[row - down, column - right]
        return result

    direction = {}
    for far in (1, 2):
        for number, (before, after) in enumerate(zip(IMAGES, perturbed("shift", far), strict=True)):
            ways = ((-far, 0), (far, 0), (0, -far), (0, far))
            [found] = [k for k, way in enumerate(ways) if (shifted_by_hand(before, *way) == after).all()]
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
    ways, before = set(), np.zeros(IMAGES.shape, bool)
    for width in (1, 2, 4, 6):
        hidden = perturbed("occlusion", width) == 0
        for each in hidden:
            rows, columns = each.all(axis=1), each.all(axis=0)
            of = rows if each.any() and not columns.any() else columns
            expected = rows[:, None] | columns[None, :] if width < 5 else each
            assert (each == expected).all()
            if width < 5:
                ways.add("level" if of is rows else "upright")
                places = np.flatnonzero(of)
                assert len(places) == width and places[-1] - places[0] == width - 1
        assert hidden[before].all()
        before = hidden
    assert before.all() and ways == {"level", "upright"}
    assert (np.where(perturbed("occlusion", 2) == 0, IMAGES, perturbed("occlusion", 2)) == IMAGES).all()


def test_brightness_is_added_and_clipped():
    images = np.array([[[0, 10, 250, 255]]], np.uint8)
    assert perturbed("brightness", 20, images).tolist() == [[[20, 30, 255, 255]]]
    assert perturbed("brightness", -20, images).tolist() == [[[0, 0, 230, 235]]]


@pytest.mark.parametrize("name", OF_IMAGES)
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


@pytest.mark.parametrize("name", [name for name in CHOICES if name != "weight_bits"])
def test_a_strength_that_is_harmless_changes_nothing(name):
    there = made(name, 0)
    assert there.harmless == 0
    assert (there.images(IMAGES, INDEX, SEED) == IMAGES).all()
    state = NetworkState(np.random.default_rng(0).random((9, 7), np.float32), np.arange(9.0))
    assert same_bits(there.network(state, SEED), state)


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_has_its_name_and_a_strength_that_is_allowed(name):
    values = yaml.safe_load((conf_folder() / "perturbation" / f"{name}.yaml").read_text())
    assert values["name"] == name
    assert made(name, values["strength"]).described()["strength"] == values["strength"]


@pytest.mark.usefixtures("without_plots")
def test_a_network_is_evaluated_under_a_perturbation_as_it_has_learned(tmp_path, finished_run):
    command = ("mode=eval", f"checkpoint={finished_run}/checkpoint.pt")
    run_in(tmp_path / "none", *command)
    for name, share in (("half", 0.5), ("all", 1), ("zero", 0)):
        run_in(tmp_path / name, *command, "perturbation=neuron_lesion", f"perturbation.strength={share}")
    none, half, everything, zero = (result_of(tmp_path / name) for name in ("none", "half", "all", "zero"))
    assert "perturbation" not in none
    constants = {"strength": 0.5, "axis": "share of neurons lost", "harmless": 0.0}
    assert half["perturbation"] == {"name": "neuron_lesion", **constants}
    assert zero["confusion"] == none["confusion"] and zero["spikes_per_image"] == none["spikes_per_image"]
    assert everything["spikes_per_image"] == judged(everything) == 0
    assert 0.3 < judged(half) < judged(none)
    assert half["silent_neurons"] == none["silent_neurons"], "labels are those that were learned"
    again = run_in(tmp_path / "half", *command, "perturbation=neuron_lesion", "perturbation.strength=0.5")
    assert again == judged(half), "the same command gives the same figure"


def test_both_layers_lose_their_share():
    settings = settings_of("first_layer=patches", "first_layer.seed=4")
    trained = Trained(None, settings, None, None, (), NetworkState(np.ones((32, 25)), np.zeros(32)))
    after = _first_layer_perturbed(made("neuron_lesion", 0.25), trained).first_layer
    assert (after.theta > 0).sum() == 8
    assert (after.theta == made("neuron_lesion", 0.25).network(trained.first_layer, 4).theta).all()
    assert _first_layer_perturbed(made("shift", 1), trained._replace(first_layer=None)).first_layer is None


MINE = """
from stdp_run.inference.perturbation import Perturbation
from stdp_run.parameters import whole_non_negative


class Negative(Perturbation):
    parameters = {"strength": whole_non_negative, "less": whole_non_negative}

    def images(self, images, image_index, seed):
        return 255 - self.p.less - images
"""


@pytest.mark.usefixtures("without_plots")
def test_a_perturbation_of_ones_own(tmp_path, finished_run):
    (tmp_path / "negative_of_mine.py").write_text(MINE)
    words = ("perturbation=shift", "perturbation._target_=negative_of_mine.Negative", "+perturbation.less=3")
    command = ("mode=eval", f"checkpoint={finished_run}/checkpoint.pt", *words)
    with pytest.raises(UserError, match=r"perturbation\._target_=.*: no negative_of_mine\.py in"):
        run_in(tmp_path / "refused", *command)
    name_folder(tmp_path)
    run_in(tmp_path / "run", *command, "n_test=50")
    assert result_of(tmp_path / "run")["perturbation"]["less"] == 3


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("weight_bits", {"strength": 0}, "perturbation.strength=0: must be a whole number from 1 to 32"),
        ("neuron_lesion", {"strength": 1.5}, "perturbation.strength=1.5: must be a share from 0 to 1"),
        ("brightness", {"strength": 256}, "perturbation.strength=256: must be a whole number from -255 to 255"),
        ("shift", {"strength": -1}, "perturbation.strength=-1: must be a whole number of 0 or more"),
        ("occlusion", {"width": 3}, "perturbation.width=3: unknown key; known beside it: strength"),
        ("occlusion", {"strength": None}, "perturbation.strength: missing; must be a whole number of 0 or more"),
        ("shift", {"_target_": "stdp_run.rules.Rule"}, "perturbation._target_=stdp_run.rules.Rule: must be a class "),
    ],
)
def test_bad_input_gets_a_line(name, values, expected):
    with pytest.raises(UserError) as error:
        build_perturbation(settings_with(name, **values))
    assert str(error.value).startswith(expected)


def test_nothing_is_left_by_an_evaluation_that_is_refused(tmp_path, finished_run):
    command = ("mode=eval", f"checkpoint={finished_run}", "perturbation=occlusion", "perturbation.strength=-1")
    with pytest.raises(UserError, match=r"perturbation\.strength=-1: must be a whole number of 0 or more"):
        run_in(tmp_path / "run", *command)
    assert not any((tmp_path / "run").iterdir())


def test_other_modes_have_no_perturbation():
    with pytest.raises(UserError, match=r"perturbation=shift: only valid with mode=eval$"):
        read_settings({**settings_with("shift").record, "mode": "train", "checkpoint": None})
