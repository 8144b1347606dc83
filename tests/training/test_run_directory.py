import json

import numpy as np
import pytest
from helpers.errors import message_of
from helpers.runs import contents, run_in

from stdp_run import checkpoint
from stdp_run.checkpoint import Checkpoint
from stdp_run.training.run_directory import REPLACED, RunDirectory

RESULT = {"readout": "a", "accuracy": {"a": 0.5}}


def content(images: int) -> Checkpoint:
    return Checkpoint({"seed": 1}, [], {"weight": np.full((2, 3), images, np.float32)}, global_step=images)


@pytest.mark.parametrize("keep_all", [False, True])
def test_the_newest_checkpoints_are_kept_until_the_run_is_complete(tmp_path, keep_all):
    directory = RunDirectory(tmp_path)
    assert directory.newest() is None
    for images in (250, 9_750, 10_000):
        directory.save(content(images), keep_all)
    expected = ["images_000000000250.pt", "images_000000009750.pt", "images_000000010000.pt"]
    assert sorted(file.name for file in directory.checkpoints.iterdir()) == expected[0 if keep_all else 1 :]
    assert directory.newest().global_step == 10_000
    directory.remove_checkpoints()
    assert not directory.checkpoints.exists()


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path, caplog):
    directory = RunDirectory(tmp_path)
    for images in (250, 500):
        directory.save(content(images))
    newest = directory.checkpoints / "images_000000000500.pt"
    damaged = bytearray(newest.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    newest.write_bytes(damaged)
    assert directory.newest().global_step == 250
    assert f"checkpoint={newest}: damaged" in caplog.text and "trying the previous checkpoint" in caplog.text
    (directory.checkpoints / "images_000000000250.pt").write_bytes(b"")
    assert message_of(directory.newest).endswith("no checkpoint is left, start again in another directory")


def test_a_result_counts_only_if_it_can_be_read(tmp_path, caplog):
    directory = RunDirectory(tmp_path)
    assert directory.result() is None
    checkpoint.save(tmp_path / "checkpoint.pt", content(10))
    for text in ('{"accuracy": 0.', "[]", '{"readout": "a", "accuracy": {"a": NaN}}'):
        (tmp_path / "result.json").write_text(text)
        caplog.clear()
        assert directory.result() is None, text
        assert f"{tmp_path}: the result is damaged and is computed again: " in caplog.text
    (tmp_path / "result.json").write_text(json.dumps(RESULT))
    assert directory.result() == RESULT
    (tmp_path / "checkpoint.pt").write_bytes(b"cut")
    assert directory.result() is None, "the network is lost"
    assert directory.result(needs_checkpoint=False) == RESULT


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", REPLACED)
def test_unrelated_files_that_a_run_would_replace_are_refused(tmp_path, finished_run, mode, name):
    (tmp_path / name).write_text("name: of the user\n")
    words = ("n_exc=10", "n_train=40") if mode == "train" else ("mode=eval", f"checkpoint={finished_run}")
    line = message_of(lambda: run_in(tmp_path, *words))
    assert line == f"{tmp_path}: contains unrelated files, {name}; choose another hydra.run.dir"
    assert contents(tmp_path) == {tmp_path / name: b"name: of the user\n"}


@pytest.mark.parametrize("text", ["name: of the user\n", "- 1\n", "mode: [train\n", "mode: train\na: &a [1]\nb: *a\n"])
def test_a_config_that_is_no_runs_is_refused(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    line = message_of(lambda: run_in(tmp_path, "n_exc=10"))
    assert line == f"{tmp_path / 'config.yaml'}: not the settings of a run; choose another hydra.run.dir"
    assert contents(tmp_path) == {tmp_path / "config.yaml": text.encode()}


def test_a_run_leaves_the_files_of_others_alone(tmp_path, without_plots):
    of_others = {".env.local", ".result.json.x3a", "events.out.tfevents.123.other", "events.out.tfevents.9"}
    for name in of_others:
        (tmp_path / name).write_text(name)
    (tmp_path / ".a.folder").mkdir()
    (tmp_path / "events.out.tfevents.1.host.1.0.stdp-run").write_text("of a run of this program that was killed")
    run_in(tmp_path, "debug=smoke", "dataset=digits", "n_exc=10", "n_train=40", "n_test=20", "encoder.steps=40")
    assert {name for name in of_others if (tmp_path / name).read_text() == name} == of_others
    [events] = tmp_path.glob("events.out.tfevents.*.stdp-run")
    assert events.name != "events.out.tfevents.1.host.1.0.stdp-run"
