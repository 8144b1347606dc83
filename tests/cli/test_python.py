"""`stdp_run.run`: the command from Python, in real runs; and what a `Result` says of one."""

import logging
import os
import random
import re
import signal
import sys

import numpy as np
import pytest
import torch
from helpers.runs import TINY, assert_same, result_of, rows_of, run_in, struck
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import stdp_run
from stdp_run.config.build import conf_folder
from stdp_run.errors import UserError

WORDS = (*TINY, "dataset=digits")
KEYWORDS = dict(item.split("=") for item in WORDS)


@pytest.fixture
def here(tmp_path, monkeypatch, without_plots):
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_runs_in_one_process_are_those_of_the_command(here, capfd):
    first = stdp_run.run("rule=nearest_online", seed=3, threads=1, **KEYWORDS)
    stdp_run.run(tuned="none", **KEYWORDS)
    again = stdp_run.run("rule=nearest_online", seed=3, threads=1, **KEYWORDS)
    assert capfd.readouterr() == ("", "")
    name = str(first.directory.relative_to(here))
    assert re.fullmatch(r"outputs/\d{4}-\d\d-\d\d/[\d-]+_digits_nearest_online_20", name)
    run_in(here / "apart", "rule=nearest_online", "seed=3", "threads=1", *WORDS)
    assert_same(first.directory, here / "apart", "files")
    assert_same(first.directory, again.directory)
    given = OmegaConf.load(first.directory / ".hydra" / "overrides.yaml")
    assert given == ["rule=nearest_online", "seed=3", "threads=1", *WORDS]
    assert (again.directory / "run.log").read_text().count("test accuracy") == 1


def test_an_evaluation(finished_run, here):
    result = stdp_run.run(mode="eval", checkpoint=finished_run / "checkpoint.pt", n_test=150)
    assert result.figures == result_of(result.directory) and len(result.metrics) == 0
    assert result.confusion["proportion"].sum() == 150
    state, trained = result.network.state, stdp_run.load(finished_run).state
    assert (state.weight == trained.weight).all()


def test_the_process_stays_as_it_was(here, torch_settings):
    stdp_run.run(debug="smoke", **KEYWORDS)  # imports
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision("medium")

    def state() -> tuple:
        logger = logging.getLogger("stdp_run")
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        in_torch = torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.get_rng_state().tolist()
        return handlers, logger.level, [*logger.handlers], in_torch, random.getstate(), dict(os.environ), [*sys.argv]

    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        expected = state()
        stdp_run.run("seed=8", threads=1, **KEYWORDS)
        with pytest.raises(UserError):
            stdp_run.run(n_exc=0)
        assert state() == expected
        assert compose("config", ["seed=9"]).seed == 9


def test_an_interrupt_saves_and_the_run_can_be_resumed(here):
    with pytest.raises(KeyboardInterrupt), struck(20, lambda: signal.raise_signal(signal.SIGINT)):
        stdp_run.run(**KEYWORDS)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    [directory] = here.glob("outputs/*/*")
    assert [*directory.glob("checkpoints/images_*.pt")]
    with pytest.raises(UserError, match="finished run"):
        stdp_run.Result(directory)
    resumed = stdp_run.run(resume=directory)
    assert resumed.directory == directory
    assert_same(directory, stdp_run.run(**KEYWORDS).directory, "config")  # but for `resume`


@pytest.mark.parametrize(
    "overrides, settings, line",
    [
        ((), {"n_exc": 0}, "n_exc=0: must be a whole number of 1 or more"),
        ((), {"rule": "stdp"}, "rule=stdp: must be one of exponential, "),
        ((), {"config_dir": "nowhere"}, "config_dir=nowhere: must be an existing folder"),
        ((), {"dataset": (np.zeros(3), [1])}, "dataset: ndarray given; must be text, a number, "),
        (("-m",), {}, "-m: options are for the command line"),
        (("mode=compare", "compare.dir=."), {}, "mode=compare: must be train or eval in Python"),
    ],
)
def test_what_is_refused_leaves_nothing(here, overrides, settings, line):
    with pytest.raises(UserError) as error:
        stdp_run.run(*overrides, **settings)
    assert str(error.value).startswith(line) and "\n" not in str(error.value)
    assert not [*here.iterdir()]


def test_a_result_says_what_the_files_say(finished_run, mnist):
    result, written = stdp_run.Result(finished_run), result_of(finished_run)
    assert result.accuracy == written["accuracy"] and result.readout == "all_activity"
    assert f"{written['accuracy'][written['readout']]:.2%}" in repr(result)
    for name, matrix in result.confusion.items():
        assert matrix.shape == (10, 11) and np.trace(matrix) == round(result.accuracy[name] * 200)
    assert result.metrics["images_seen"].tolist() == [row["images_seen"] for row in rows_of(finished_run)]
    assert {"checkpoint.pt", "report.html", "result.json"} <= result.paths.keys()
    assert result.receptive_fields.shape == (100, 28, 28)
    assert (result.receptive_fields[7].ravel() == result.network.state.weight[7]).all()
    images = mnist.test.pixels[:20]
    recording, answers = result.network.record(images), result.network.classify(images)
    assert recording.input.shape == (20, 316, 784) and recording.inhibitory.shape == recording.excitatory.shape
    assert (recording.excitatory.sum(axis=1) == answers.counts).mean() > 0.999  # float32 may round otherwise
