"""What a speed trial decides is decided once, on a machine whose GPU is only claimed."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers.runs import run_in, settings_of

from stdp_run.config.build import build_model
from stdp_run.engines import selection
from stdp_run.errors import UserError
from stdp_run.training.engine_choice import choose_once, engine_options
from stdp_run.training.run import TrainingRun
from stdp_run.training.run_directory import RunDirectory

TINY = ("n_exc=10", "n_train=40", "n_test=20", "encoder.steps=40", "trainer.checkpoint_every=10", "dataset=digits")


class Trials:
    """Speed trials that say what they are told to."""

    def __init__(self):
        self.fastest, self.tried = "event", []

    def images_per_second(self, group, batch_size):
        self.tried.append(group.name)
        return 2.0 if group.name == self.fastest else 1.0


@pytest.fixture
def trials(monkeypatch):
    found = Trials()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(selection, "images_per_second", found.images_per_second)
    monkeypatch.setattr(selection, "_torch_device", lambda choice, options: "cpu")  # in truth there is no GPU
    return found


def engine_of(directory):
    """Return the engine by a run's config and by its result."""
    return RunDirectory(directory).config().engine, json.loads((directory / "result.json").read_text())["engine"]


def test_a_resumed_run_keeps_what_was_chosen_when_it_began(trials, without_plots, tmp_path, monkeypatch, caplog):
    def killed(*_):
        raise InterruptedError

    directory = tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(TrainingRun, "_write", killed)
        run_in(directory, *TINY)
    assert trials.tried == ["event", "torch"] and RunDirectory(directory).config().engine == "event"
    trials.fastest = "torch"
    with pytest.raises(UserError, match=r"engine=torch \(there: event\)"):
        run_in(directory, *TINY, "engine=torch")
    with caplog.at_level(logging.INFO):
        run_in(directory, *TINY)
    assert "resumed after 40 images" in caplog.text and "engine event on the CPU" in caplog.text
    assert engine_of(directory) == ("event", "event") and len(trials.tried) == 2
    run_in(tmp_path / "another", *TINY)
    assert engine_of(tmp_path / "another") == ("torch", "torch") and len(trials.tried) > 2


def test_jobs_of_a_sweep_that_ask_for_the_same_choose_once(trials, without_plots, tmp_path):
    for job, asked in enumerate((["seed=0"], ["seed=1"], ["rule.a_post=0.5"], ["n_exc=12"])):
        run_in(tmp_path / str(job), *TINY, *asked, job=job, sweep_directory=tmp_path)
        trials.fastest = "torch"
    assert [engine_of(tmp_path / str(job))[1] for job in range(4)] == ["event", "event", "event", "torch"]


def test_jobs_at_the_same_time_wait_for_the_one_that_tries(trials, tmp_path):
    settings = settings_of(*TINY)
    models, options = [build_model(settings)], engine_options(settings, None)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: choose_once(models, options, None, tmp_path), range(4)))
    assert {choice.engine for choice in found} == {"event"} and trials.tried == ["event", "torch"]


@pytest.mark.parametrize("asked", ["device=cpu", "engine=event", "threads=1"])
def test_without_a_trial_nothing_is_written(asked, tmp_path):
    settings = settings_of(*TINY, asked)
    choice = choose_once([build_model(settings)], engine_options(settings, None), None, tmp_path)
    assert choice.engine == "event" and list(tmp_path.iterdir()) == []
