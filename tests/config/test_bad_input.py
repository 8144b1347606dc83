"""Whatever a command gets wrong is told in one line that names the key, the value and what is allowed."""

import pytest
from helpers.refusals import refusal
from hydra.errors import MissingConfigException

from stdp_run import rules
from stdp_run.cli.messages import in_one_line

ONE_LINE = [
    ("rule=hebb", f"rule=hebb: must be one of {', '.join(sorted(rules))}"),
    ("neuron=izhikevich", "neuron=izhikevich: must be one of alif_stdp,"),
    ("dataset=cifar", "dataset=cifar: must be one of "),
    ("encoder=rate", "encoder=rate: must be one of poisson"),
    ("encoder=3", "encoder=3: must be the name of a choice"),
    ("experiment=nope", "experiment=nope: must be one of"),
    ("n_neurons=3", "n_neurons=3: unknown key; known beside it: batch_size,"),
    ("rule.zz=1", "rule.zz=1: unknown key; known beside it: a_post, a_pre,"),
    ("rule=meta_nearest_online rule.zz=1", "rule.zz=1: unknown key; known beside it: a_post, a_pre, bound,"),
    ("nothing.zz=1", "nothing.zz=1: unknown key; known beside it: batch_size,"),
    ("+rule.zz=1", "rule.zz=1: unknown key; known here: a_post, a_pre,"),
    ("+neuron.zz=1", "neuron.zz=1: unknown key"),
    ("+zz=1", "zz=1: unknown key"),
    ("+encoder.zz=1", "encoder.zz=1: unknown key"),
    ("+predict.zz=1", "predict.zz=1: unknown key; known here: csv, images"),
    ("~rule.name", "rule.name: missing"),
    ("~evaluator", "evaluator: missing"),
    ("n_exc", "n_exc: must be KEY=VALUE, or"),
    ("n_exc=[1", "n_exc=[1: must be KEY=VALUE, or \"KEY='VALUE'\" where VALUE has brackets"),
    ("seed=1,2", "seed=1,2: must be one value; -m sweeps over several, and a list is [VALUE,VALUE]"),
    ("+n_exc=3", "An item is already at 'n_exc'; Either remove + prefix: 'n_exc=3'"),
    ("n_exc=${nothing}", "n_exc: Interpolation key 'nothing' not found"),
    ("rule.a_post=fast", "rule.a_post=fast: must be a number"),
    ("rule.tau_pre=0", "rule.tau_pre=0: must be a number above 0"),
    ("rule.w_norm=much per input", "rule.w_norm=much per input: must be a number above 0"),
    ("rule=triplet ~rule.tau_post_slow", "rule.tau_post_slow: missing; must be a number above 0"),
    ("rule=triplet rule.normalise=often", "rule.normalise=often: must be one of never, last_step, every_step, before_"),
    ("rule=rectangular rule.t_ltp=-1", "rule.t_ltp=-1: must be a number of 0 or more"),
    ("rule=power_law +rule.tau_post=9", "rule.tau_post=9: unknown key; known here: eta, mu, normalise, tau_pre, w_max"),
    ("rule=triplet neuron=diehl_cook_int", "use neuron=lif_stdp"),
    ("neuron.refractory=1.5", "neuron.refractory=1.5: must be a whole number of 0 or more"),
    ("n_exc=0", "n_exc=0: must be a whole number of 1 or more"),
    ("n_exc=many", "n_exc=many: must be a whole number of 1 or more"),
    ("n_exc=true", "n_exc=true: must be a whole number of 1 or more"),
    ("seed=-1", "seed=-1: must be a whole number from 0 to 4294967295"),
    ("mode=dance", "mode=dance: must be one of train, eval"),
    ("engine=brian", "engine=brian: must be one of auto, event, torch"),
    ("trainer.schedule=linear", "trainer.schedule=linear: must be one of constant, exponential, cosine"),
    ("trainer.order=random", "trainer.order=random: must be one of shuffled, as_stored, by_class"),
    ("trainer.shuffle=false", "trainer.shuffle=false: unknown key; known beside it: checkpoint_every,"),
    ("+trainer.shuffle=false", "trainer.shuffle=false: unknown key; known here: checkpoint_every,"),
    ("evaluator.readout=svm", "evaluator.readout=svm: must be one of all_activity, proportion, naive_bayes, multi"),
    ("trainer.checkpoint_seconds=0", "trainer.checkpoint_seconds=0: must be a number above 0, or null"),
    ("trainer.plot_every=0", "trainer.plot_every=0: must be a whole number of 1 or more, or null"),
    ("trainer.k_winners_start=9", "trainer.k_winners_start=9: needs the number at the end, k_winners; it is null"),
    ("dataset.split=tset", "dataset.split=tset: must be one of test, validation, train"),
    ("dataset.height=tall", "dataset.height=tall: must be a whole number of 1 or more"),
    ("dataset.n_validation=0", "dataset.n_validation=0: must be a whole number of 1 or more"),
    ("rule=post_pre_int neuron=lif_stdp", "use neuron=diehl_cook_int"),
    ("rule=nearest_online neuron=diehl_cook_int", "use neuron=lif_stdp"),
    ("rule=post_pre_int trainer.schedule=cosine", "trainer.schedule=cosine: must be constant"),
    ("mode=eval", "checkpoint=null: mode=eval needs the checkpoint.pt of a run"),
    ("mode=predict checkpoint=a", "predict.images=null: mode=predict needs a picture or a folder of pictures"),
    ("mode=export checkpoint=a", "export.to=null: mode=export needs the file to write"),
    ("mode=compare", "compare.dir=null: mode=compare needs a folder with runs in it"),
    ("checkpoint=a", "checkpoint=a: must be null with mode=train, as it is for mode=eval, predict, export; resume="),
    ("predict.images=a", "predict.images=a: must be null with mode=train, as it is for mode=predict"),
    ("mode=eval checkpoint=a predict.csv=b", "predict.csv=b: must be null with mode=eval, as it is for mode=predict"),
    ("export.to=a.npz", "export.to=a.npz: must be null with mode=train"),
    ("compare.dir=a", "compare.dir=a: must be null with mode=train"),
    ("seed=", "seed=: the value is empty, as of a variable that is not set; null stands for none"),
    ("resume=", "resume=: the value is empty"),
    ("hydra.run.dir=''", "hydra.run.dir='': the value is empty"),
    ("-m seed=", "seed=: the value is empty"),
    (
        "seed=ä",
        "seed=ä: must be KEY=VALUE, or \"KEY='VALUE'\" where VALUE has brackets, commas, quotation marks or letters",
    ),
    ("hydra.sweeper.n_trials=2", "known beside it: max_batch_size, params; others belong to hydra/sweeper=optuna"),
    ("resume=nowhere", "resume=nowhere: must be auto, null, or the directory of a run"),
    ("resume=nowhere -m", "resume=nowhere: resumes one run; the same command without it resumes a sweep"),
]


@pytest.mark.parametrize(("command", "expected"), ONE_LINE, ids=[command for command, _ in ONE_LINE])
def test_bad_input_gets_one_line(command, expected):
    arguments = [command] if " per input" in command else command.split()
    line = refusal(*arguments)
    assert expected in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("choice", "extra"),
    [
        ("hydra/launcher/joblib", "parallel"),
        ("hydra/launcher/submitit_slurm", "slurm"),
        ("hydra/launcher/ray", "ray"),
        ("hydra/sweeper/optuna", "tune"),
    ],
)
def test_a_launcher_that_can_be_installed_is_refused_with_the_line_that_does_it(choice, extra):
    group, _, name = choice.rpartition("/")
    error = MissingConfigException("could not be found", choice, ["basic"])
    assert in_one_line(error, []) == f'{group}={name}: needs a package: pip install "stdp_run[{extra}]"'
    assert (
        in_one_line(MissingConfigException("", f"{group}/nope", ["basic"]), []) == f"{group}=nope: must be one of basic"
    )
