"""Whatever a command gets wrong is told in one line that names the key, the value and what is allowed."""

import errno
import os
from pathlib import Path

import pytest
from helpers.refusals import refusal
from hydra.errors import MissingConfigException

from stdp_run import rules
from stdp_run.cli.messages import explained, in_one_line

ONE_LINE = [
    ("rule=hebb", f"rule=hebb: must be one of {', '.join(sorted(rules))}"),
    ("neuron=izhikevich", "neuron=izhikevich: must be one of alif_stdp,"),
    ("dataset=cifar", "dataset=cifar: must be one of "),
    ("encoder=rate", "encoder=rate: must be one of poisson"),
    ("encoder=3", "encoder=3: must be the name of a choice"),
    ("experiment=nope", "experiment=nope: must be one of"),
    ("colour=3", "colour=3: unknown key; known beside it: batch_size,"),
    ("n_exec=3", "n_exec=3: unknown key; did you mean n_exc?"),
    ("experment=mnist_400", "experment=mnist_400: unknown key; did you mean experiment or export?"),
    ("readout=proportion", "readout=proportion: unknown key; did you mean evaluator.readout?"),
    ("tunned=none", "tunned=none: unknown key; did you mean tuned?"),
    ("rule.a_pots=1", "rule.a_pots=1: unknown key; did you mean a_post or tau_post?"),
    ("rule.zz=1", "rule.zz=1: unknown key; known beside it: a_post, a_pre,"),
    ("+rule.zz=1", "rule.zz=1: unknown key; known beside it: a_post, a_pre,"),
    ("+predict.zz=1", "predict.zz=1: only valid with mode=predict"),
    ("~rule.name", "rule.name: missing"),
    ("n_exc", "n_exc: must be KEY=VALUE, or"),
    ("n_exc=[1", "n_exc=[1: must be KEY=VALUE, or \"KEY='VALUE'\" where VALUE has brackets"),
    ("seed=1,2", "seed=1,2: must be one value; -m sweeps over several, and a list is [VALUE,VALUE]"),
    ("+n_exc=3", "An item is already at 'n_exc'; Either remove + prefix: 'n_exc=3'"),
    ("mode='${mode}'", "mode='${mode}': refers to itself"),
    ("+a=${b} +b=${a}", "Recursive interpolation detected"),
    ("n_exc=${nothing}", "n_exc: Interpolation key 'nothing' not found"),
    ("rule.a_post=fast", "rule.a_post=fast: must be a number"),
    ("rule.a_post=1e39", "rule.a_post=1e+39: must be within 3.4e+38, the range of float32"),
    (f"rule.a_post=1{'0' * 400}", "must be within 3.4e+38"),
    ("encoder.dt=1e300", "encoder.dt=1e+300: must be a number from 0.001 to 1000"),
    ("encoder.steps=2147483647", "encoder.steps=2147483647: must be a whole number from 1 to 100000"),
    ("threads=99999999", "threads=99999999: must be a whole number from 1 to 1024, or null"),
    ("n_exc=5000000 trainer.log_every=60000", "n_exc=5000000, encoder.steps=316 and threads="),
    ("rule=triplet ~rule.tau_post_slow", "rule.tau_post_slow: missing; must be a number above 0"),
    ("rule=triplet rule.normalise=often", "rule.normalise=often: must be one of never, last_step, every_step, before_"),
    ("rule=power_law +rule.tau_post=9", "rule.tau_post=9: unknown key; did you mean tau_pre?"),
    ("neuron.refractory=1.5", "neuron.refractory=1.5: must be a whole number of 0 or more"),
    ("epochs=1000001", "epochs=1000001: must be a whole number from 1 to 1000000"),
    ("n_exc=many", "n_exc=many: must be a whole number of 1 or more"),
    ("seed=-1", "seed=-1: must be a whole number from 0 to 4294967295"),
    ("mode=dance", "mode=dance: must be one of train, eval"),
    ("engine=brian", "engine=brian: must be one of auto, event, torch"),
    ("trainer.plot_every=0", "trainer.plot_every=0: must be a whole number of 1 or more, or null"),
    ("dataset.split=tset", "dataset.split=tset: must be one of test, validation, train"),
    ("rule=post_pre_int neuron=lif_stdp", "use neuron=diehl_cook_int"),
    ("rule=nearest_online neuron=diehl_cook_int", "use neuron=lif_stdp"),
    ("rule=post_pre_int trainer.schedule=cosine", "trainer.schedule=cosine: must be constant"),
    ("mode=eval", "checkpoint=null: mode=eval needs the checkpoint.pt of a run"),
    ("checkpoint=a", "checkpoint=a: only valid with mode=eval, predict, export; resume=DIRECTORY resumes a run"),
    ("export.to=a.npz", "export.to=a.npz: only valid with mode=export"),
    ("seed=", "seed=: the value is empty, as of a variable that is not set; null stands for none"),
    ("resume=", "the value is empty"),
    ("hydra.run.dir=''", "hydra.run.dir='': the value is empty"),
    ("-m seed=", "seed=: the value is empty"),
    (
        "seed=ä",
        "seed=ä: must be KEY=VALUE, or \"KEY='VALUE'\" where VALUE has brackets, commas, quotation marks or letters",
    ),
    ("hydra.sweeper.n_trials=2", "known beside it: max_batch_size, params; hydra/sweeper=NAME has others"),
    (
        "hydra.launcher.n_jobs=2",
        "unknown key; known beside it: none; hydra/launcher=NAME has others",
    ),
    ("perturbation.strength=1", "perturbation.strength=1: needs perturbation=NAME; NAME is one of brightness, "),
    ("first_layer.stride=2", "first_layer.stride=2: needs first_layer=NAME; NAME is one of patches"),
    ("resume=nowhere", "resume=nowhere: must be auto, null, or the directory of a run"),
    ("resume=nowhere -m", "resume=nowhere: must be auto, null, or the directory of a run"),
]


@pytest.mark.parametrize(("command", "expected"), ONE_LINE, ids=[command for command, _ in ONE_LINE])
def test_bad_input_gets_one_line(command, expected):
    line = refusal(*command.split())
    assert expected in line
    assert "\n" not in line


def test_a_file_size_limit_is_told_as_a_full_disk_is():
    for number in (errno.EFBIG, errno.ENOSPC):
        line = explained(OSError(number, os.strerror(number), "run/metrics.jsonl"), Path("run"))
        assert line == f"run/metrics.jsonl: {os.strerror(number)}; the last checkpoint is unharmed"


def test_a_launcher_that_is_not_installed_is_refused_with_the_command_that_installs_it():
    for choice in ("hydra/launcher/joblib", "hydra/sweeper/optuna"):
        group, _, name = choice.rpartition("/")
        line = in_one_line(MissingConfigException("could not be found", choice, ["basic"]), [])
        install = 'pip install "stdp-run[parallel,slurm,ray,tune]"'
        assert line == f"{group}={name}: must be one of basic; {install} adds others"
