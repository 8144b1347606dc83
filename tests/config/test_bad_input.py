"""A command with a mistake is refused in one line with the key, the value and what is allowed."""

import errno
from pathlib import Path

import pytest
from helpers.runs import composed
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from stdp_run import rules
from stdp_run.cli.messages import explained, in_one_line
from stdp_run.cli.overrides import prepared
from stdp_run.config.build import build_model
from stdp_run.config.schema import read_settings, resolved
from stdp_run.errors import UserError

CONDUCTANCES = "experiment=diehl_cook_2015_100"
ONE_LINE = [
    ("rule=hebb", f"rule=hebb: must be one of {', '.join(sorted(rules))}"),
    ("encoder=3", "encoder=3: must be the name of a choice"),
    ("n_exec=3", "n_exec=3: unknown key; did you mean n_exc?"),
    ("experment=mnist_400", "experment=mnist_400: unknown key; did you mean experiment or export?"),
    ("readout=proportion", "readout=proportion: unknown key; did you mean evaluator.readout?"),
    ("rule.a_pots=1", "rule.a_pots=1: unknown key; did you mean a_post or tau_post?"),
    ("+rule.zz=1", "rule.zz=1: unknown key; known keys: a_post, a_pre,"),
    ("~rule.name", "rule.name: missing"),
    ("n_exc", "n_exc: must be KEY=VALUE, or"),
    ("seed=1,2", "seed=1,2: must be one value; -m sweeps over several, and a list is [VALUE,VALUE]"),
    ("+n_exc=3", "An item is already at 'n_exc'; Either remove + prefix: 'n_exc=3'"),
    ("mode='${mode}'", "mode='${mode}': refers to itself"),
    ("+a=${b} +b=${a}", "Recursive interpolation detected"),
    ("n_exc=${nothing}", "n_exc: Interpolation key 'nothing' not found"),
    ("rule.a_post=fast", "rule.a_post=fast: must be a number"),
    ("rule.a_post=1e39", "rule.a_post=1e+39: must be within 3.4e+38, the range of float32"),
    (f"rule.a_post=1{'0' * 400}", "must be within 3.4e+38"),
    ("encoder.dt=1e300", "encoder.dt=1e+300: must be a number from 0.001 to 1000"),
    ("threads=99999999", "threads=99999999: must be a whole number from 1 to 1024, or null"),
    ("n_exc=5000000 trainer.log_every=60000", "n_exc=5000000, encoder.steps=316 and threads="),
    ("rule=triplet ~rule.tau_post_slow", "rule.tau_post_slow: missing; must be a number above 0"),
    ("rule=triplet rule.normalise=often", "rule.normalise=often: must be one of never, last_step, every_step, before_"),
    ("neuron.refractory=1.5", "neuron.refractory=1.5: must be a whole number of 0 or more"),
    ("rule=post_pre_int neuron=lif_stdp", "use neuron=diehl_cook_int"),
    ("rule=nearest_online neuron=diehl_cook_int", "use neuron=lif_stdp"),
    ("rule=post_pre_int trainer.schedule=cosine", "trainer.schedule=cosine: must be constant"),
    ("seed=", "seed=: the value is empty, perhaps an unset shell variable; null means none"),
    ("resume=", "the value is empty"),
    ("seed=ä", "seed=ä: must be KEY=VALUE, or \"KEY='VALUE'\" where VALUE has brackets, commas, quotation marks or "),
    ("hydra.sweeper.n_trials=2", "known keys: max_batch_size, params; hydra/sweeper=NAME has others"),
    ("hydra.launcher.n_jobs=2", "unknown key; known keys: none; hydra/launcher=NAME has others"),
    ("perturbation.strength=1", "perturbation.strength=1: needs perturbation=NAME; NAME is one of brightness, "),
    ("evaluator.supervised=1", "evaluator.supervised=1: must be true or false"),
    ("dataset=patches evaluator.supervised=true", "evaluator.supervised=true: must be false"),
    (
        "first_layer=patches first_layer.evaluator.supervised=true",
        "first_layer.evaluator.supervised=true: must be false",
    ),
    ("encoder.on_off=maybe", "encoder.on_off=maybe: must be true or false"),
    ("evaluator.w_ie=abc", "evaluator.w_ie=abc: must be a number, or null"),
    ("rule=post_pre_int evaluator.w_ie=1.5", "evaluator.w_ie=1.5: must be a whole number"),
    (f"{CONDUCTANCES} evaluator.w_ie=-1", "evaluator.w_ie=-1.0: must be a number of 0 or more"),
    ("evaluator.shifts=-1", "evaluator.shifts=-1: must be a whole number of 0 or more"),
    ("evaluator.shifts=1.5", "evaluator.shifts=1.5: must be a whole number of 0 or more"),
    ("dataset.width=9 evaluator.shifts=9", "evaluator.shifts=9: must be smaller than the images, which have 28 x 9 p"),
    ("evaluator.shifts=1 evaluator.n_presentations=4", "evaluator.n_presentations=4: must be 5 or more, one for each"),
    (
        "first_layer=patches first_layer.stride=2 evaluator.shifts=1 evaluator.n_presentations=5",
        "evaluator.shifts=1: must be 0 with first_layer.stride=2",
    ),
    (
        "first_layer=patches first_layer.evaluator.shifts=1 first_layer.evaluator.n_presentations=5",
        "first_layer.evaluator.shifts=1: must be 0; evaluator.shifts shifts the images",
    ),
    (f"{CONDUCTANCES} neuron.max_delay=151", "neuron.max_delay=151: must be at most the rest after an image, encoder."),
    (f"{CONDUCTANCES} neuron.max_delay=140", "neuron.max_delay=140: must be at most 255 steps, 127.5 ms"),
    (f"{CONDUCTANCES} neuron.max_delay=-1", "neuron.max_delay=-1: must be a number of 0 or more"),
    (f"{CONDUCTANCES} encoder.dt=1.5", "encoder.dt=1.5: must be at most neuron.tau_excitatory=1 ms"),
    (f"{CONDUCTANCES} batch_size=2", "batch_size=2: must be 1: diehl_cook_2015 runs on from image to image"),
    (f"{CONDUCTANCES} rule=post_pre_int", "does not; use neuron=diehl_cook_int"),
    ("encoder.rest_steps=10", "encoder.rest_steps=10: must be 0: lif_stdp starts every image at rest"),
    ("encoder.max_repeats=256", "encoder.max_repeats=256: must be a whole number from 0 to 255"),
    ("trainer.k_winners_start=16", "trainer.k_winners_start=16: needs k_winners, the number at the end"),
    ("resume=nowhere -m", "resume=nowhere: must be auto, null, or the directory of a run"),
]


@pytest.mark.parametrize(("command", "expected"), ONE_LINE, ids=[command for command, _ in ONE_LINE])
def test_bad_input_gets_one_line(command, expected):
    with pytest.raises((UserError, HydraException, OmegaConfBaseException)) as caught:
        build_model(read_settings(resolved(composed(*prepared(command.split())))))
    line = in_one_line(caught.value, command.split())
    assert expected in line
    assert "\n" not in line


def test_a_full_disk_is_told_with_the_file():
    line = explained(OSError(errno.EFBIG, "File too large", "run/metrics.jsonl"), Path("run"))
    assert line == "run/metrics.jsonl: File too large; the last checkpoint is unharmed"


def test_a_launcher_that_is_not_installed_is_refused_with_the_command_that_installs_it():
    line = in_one_line(MissingConfigException("could not be found", "hydra/launcher/joblib", ["basic"]), [])
    install = 'pip install "stdp-run[parallel,slurm,ray,tune]"'
    assert line == f"hydra/launcher=joblib: must be one of basic; {install} adds others"
