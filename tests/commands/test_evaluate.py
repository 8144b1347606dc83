"""mode=eval: a network evaluated again, on the same images and on others."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.runs import TINY, result_of, run_in
from PIL import Image

from stdp_run.datasets.pictures import reader_for
from stdp_run.errors import UserError
from stdp_run.inference.load import load

pytestmark = pytest.mark.usefixtures("without_plots")


def write_images(folder: Path, count: int, value: int) -> None:
    folder.mkdir(parents=True)
    for k in range(count):
        Image.new("L", (10, 10), value).save(folder / f"{k}.png")


@pytest.mark.parametrize("engine", ["event", "torch"])
def test_evaluating_a_checkpoint_gives_the_same_accuracy_to_the_last_digit(tmp_path, engine):
    run_in(tmp_path / "learned", *TINY, "encoder.steps=60", f"engine={engine}", "seed=5")
    run_in(tmp_path / "again", "mode=eval", f"checkpoint={tmp_path}/learned/checkpoint.pt")
    first, second = result_of(tmp_path / "learned"), result_of(tmp_path / "again")
    for key in (
        "accuracy",
        "confusion",
        "calibration_error",
        "spikes_per_image",
        "silent_neurons",
        "test_images",
        "seed",
        "n_exc",
        "rule",
    ):
        assert first[key] == second[key], key


def test_a_network_is_evaluated_on_any_split_and_other_data(tmp_path, finished_run):
    network = ("mode=eval", f"checkpoint={finished_run}/checkpoint.pt")
    reached = {}
    for split in ("train", "validation", "test"):
        run_in(tmp_path / split, *network, f"dataset.split={split}", "n_test=300")
        result = result_of(tmp_path / split)
        assert (result["split"], result["test_images"], result["n_exc"]) == (split, 300, 100)
        reached[split] = result["confusion"]["all_activity"]
    assert reached["train"] != reached["validation"] != reached["test"]
    for digit in range(10):
        write_images(tmp_path / "mine" / str(digit), 6, 20 * digit)
    run_in(tmp_path / "own", *network, "dataset=image_folder", f"dataset.root={tmp_path}/mine")
    result = result_of(tmp_path / "own")
    assert (result["dataset"], result["test_images"]) == ("image_folder", 10)


NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def test_photographed_digits_are_framed_and_go_by_the_names_of_their_classes(tmp_path, finished_run, mnist):
    for number, (digit, label) in enumerate(zip(mnist.test.pixels[:100], mnist.test.labels[:100], strict=True)):
        if label == 6:
            continue  # a class that the network knows and the folder lacks
        for part in ("train", "test"):
            folder = tmp_path / "mine" / part / NAMES[label]
            folder.mkdir(parents=True, exist_ok=True)
            page = np.pad(np.kron(digit, np.ones((3, 3))), ((10, 90), (60, 0)))  # beside the middle, on white paper
            Image.fromarray((240 - 0.8 * page).astype(np.uint8)).save(folder / f"{number}.png")
    classes = ",".join(f"{name}:{number}" for number, name in enumerate(NAMES) if name != "six")
    command = ("mode=eval", f"checkpoint={finished_run}/checkpoint.pt", "dataset=image_folder")
    command = (*command, f"dataset.root={tmp_path}/mine")
    with pytest.raises(UserError, match=r"does not know: eight, five, four, .*; the network knows 0, 1, 2, "):
        run_in(tmp_path / "refused", *command)
    accuracy = run_in(tmp_path / "run", *command, f"dataset.class_names={{{classes}}}")
    assert accuracy > 0.6
    per_class = result_of(tmp_path / "run")["accuracy_per_class"]["all_activity"]
    assert list(per_class) == list("0123456789") and per_class["6"] is None


def test_pictures_are_prepared_as_those_that_the_network_learned(tmp_path, mnist):
    for number, digit in enumerate(mnist.test.pixels[:80]):
        folder = tmp_path / "mine" / ("few" if mnist.test.labels[number] < 5 else "many")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - digit).save(folder / f"{number:02}.png")
    mine = ("dataset=image_folder", f"dataset.root={tmp_path}/mine")
    tiny = ("n_exc=20", "encoder.steps=60", "dataset.prepare=resize", "dataset.invert=false")
    run_in(tmp_path / "learned", *tiny, *mine)
    command = ("mode=eval", f"checkpoint={tmp_path}/learned/checkpoint.pt", *mine)
    run_in(tmp_path / "again", *command)
    assert result_of(tmp_path / "again")["confusion"] == result_of(tmp_path / "learned")["confusion"]
    run_in(tmp_path / "framed", *command, "dataset.prepare=frame")
    for name, expected in (("again", ("resize", False)), ("framed", ("frame", None))):
        dataset = yaml.safe_load((tmp_path / name / "config.yaml").read_text())["dataset"]
        assert (dataset["prepare"], dataset["invert"]) == expected
    learned = load(tmp_path / "learned").settings.dataset
    assert np.array_equal(reader_for(learned).read(tmp_path / "mine" / "many" / "00.png"), 255 - mnist.test.pixels[0])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["n_exc=41"], "was made with other settings: n_exc=41 (there: 100)"),
        (
            ["dataset=image_folder"],
            "classes that the network does not know: only; the network knows 0, 1, 2, 3, 4, 5, ",
        ),
        (["dataset=image_folder", "dataset.height=9"], "9 x 28 pixels; the network learned from 28 x 28"),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_evaluating_refuses_what_does_not_fit_the_network(tmp_path, finished_run, words, expected):
    write_images(tmp_path / "few" / "only", 6, 100)
    root = [f"dataset.root={tmp_path}/few"] if "dataset=image_folder" in words else []
    with pytest.raises(UserError) as error:
        run_in(tmp_path / "run", "mode=eval", f"checkpoint={finished_run}/checkpoint.pt", *words, *root)
    assert expected in str(error.value)
