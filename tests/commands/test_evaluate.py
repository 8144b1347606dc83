"""mode=eval: a network evaluated again, on the same images and on others."""

from pathlib import Path

import pytest
from helpers.runs import TINY, result_of, run_in
from PIL import Image

from stdp_run.errors import UserError

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
    for key in ("accuracy", "confusion", "spikes_per_image", "silent_neurons", "test_images", "seed", "n_exc", "rule"):
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


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["n_exc=41"], "was made with other settings: n_exc=41 (there: 100)"),
        (["dataset=image_folder"], "1 classes; the network knows 10"),
        (["dataset=image_folder", "dataset.height=9"], "252 pixels; the network has 784 inputs"),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_evaluating_refuses_what_does_not_fit_the_network(tmp_path, finished_run, words, expected):
    write_images(tmp_path / "few" / "only", 6, 100)
    root = [f"dataset.root={tmp_path}/few"] if "dataset=image_folder" in words else []
    with pytest.raises(UserError) as error:
        run_in(tmp_path / "run", "mode=eval", f"checkpoint={finished_run}/checkpoint.pt", *words, *root)
    assert expected in str(error.value)
