"""Settings: read in one place, typed, with a record of what they were read from."""

import pytest
from helpers.refusals import refusal
from helpers.runs import settings_of

from stdp_run.config.build import build_model, published
from stdp_run.config.schema import read_settings
from stdp_run.config.side_by_side import read_networks
from stdp_run.errors import UserError


def test_sections_are_typed_and_the_record_is_the_resolved_config():
    settings = settings_of("n_exc=7", "rule.a_pre=${rule.a_post}", "dataset=image_folder", "dataset.width=30")
    assert (settings.n_exc, settings.encoder.steps, settings.trainer.schedule) == (7, 316, "exponential")
    assert (settings.rule.name, settings.rule.target) == ("nearest_online", "stdp_run.rules.NearestOnline")
    assert settings.rule.constants["a_pre"] == settings.rule.constants["a_post"] == 0.04
    assert settings.dataset.n_inputs == 28 * 30
    own = {"root": None, "prepare": "frame", "invert": None, "test_every": 5, "class_names": None}
    assert settings.dataset.options == own
    assert settings.record["rule"]["a_pre"] == 0.04
    assert "${" not in str(settings.record)
    assert read_settings(settings.record).record == settings.record, "a saved record reads the same"


@pytest.mark.parametrize(
    ("words", "norm"),
    [
        ((), 0.11543 * 784),
        (("tuned=none",), 0.1 * 784),
        (("dataset=digits", "tuned=none"), 0.1 * 64),
        (("dataset=image_folder", "dataset.height=10"), 0.11543 * 280),
        (("rule.w_norm=0.5 per input",), 392.0),
        (("rule.w_norm=1e-2 per input",), 7.84),
        (("rule.w_norm=45",), 45.0),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_a_constant_per_input_counts_the_pixels(words, norm):
    settings = settings_of(*words)
    assert settings.record["rule"]["w_norm"] == settings.rule.constants["w_norm"] == norm
    assert build_model(settings).rule_parameters.w_norm == norm
    assert published("rule", "nearest_online", 100)["w_norm"] == 10.0


def test_settings_with_other_values_are_read_anew():
    settings = settings_of("rule.a_pre=${rule.a_post}")
    changed = settings.with_values({"engine": "torch", "rule.a_post": 0.5})
    assert (changed.engine, changed.record["engine"]) == ("torch", "torch")
    assert changed.rule.constants["a_pre"] == 0.5, "what refers to it follows"
    assert (settings.engine, settings.rule.constants["a_post"]) == ("auto", 0.04)
    with pytest.raises(UserError, match="engine=brian: must be one of"):
        settings.with_values({"engine": "brian"})


def test_networks_side_by_side_have_settings_as_if_alone():
    asked = settings_of("networks=2", "vary=rule.a_post", "values=[0.5,1.0]", "rule.a_pre=${rule.a_post}")
    found = read_networks(asked)
    assert [name for name, _ in found] == ["a_post_0.5", "a_post_1.0"]
    assert [each.rule.constants["a_pre"] for _, each in found] == [0.5, 1.0], "what refers to it follows"
    assert asked.record["networks"] == 2, "what was asked for stays as it is"
    assert found[0][1].record == settings_of("rule.a_post=0.5", "rule.a_pre=0.5").record


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (["networks=2", "seed=7"], ["seed_7", "seed_8"]),
        (["networks=2", "values=[5,3]"], ["seed_5", "seed_3"]),
        (["networks=2", "vary=max_learners", "values=[null,1]"], ["max_learners_null", "max_learners_1"]),
        (["networks=2", "vary=trainer.schedule", "values=[constant,cosine]"], ["schedule_constant", "schedule_cosine"]),
        (["networks=2", "vary=neuron.tau_theta", "values=[1e7,1e+20]"], ["tau_theta_10000000.0", "tau_theta_1e+20"]),
        (["networks=2", "vary=rule.w_norm", "values=[0.1 per input,45]"], ["w_norm_0.1-per-input", "w_norm_45"]),
        (["networks=2", "vary=trainer.order", "values=[shuffled,by_class]"], ["order_shuffled", "order_by_class"]),
    ],
    ids=lambda value: " ".join(value)[:60],
)
def test_directories_are_named_after_what_differs(asked, names):
    assert [name for name, _ in read_networks(settings_of(*asked))] == names


VARIABLE = "vary={}: must be what leaves shapes and numbers of steps equal: seed, max_learners, encoder.max_rate_hz"
FIXED = (
    *("n_exc", "epochs", "batch_size", "n_train", "encoder.steps", "evaluator.n_presentations", "dataset.split"),
    *("dtype", "rule", "rule.name", "rule._target_", "neuron.name", "rule.nothing", "networks", "engine", "nothing"),
)
REFUSED = [
    (["values=[1,2,3]"], "networks=2: must be 3, the number of values=[1,2,3]"),
    (["vary=rule.a_post"], "values=null: must be a list of 2 values for vary=rule.a_post"),
    (["seed=4294967295"], "seed=4294967296: must be a whole number from 0 to 4294967295"),
    *([[f"vary={key}", "values=[1,2]"], VARIABLE.format(key)] for key in FIXED),
]


@pytest.mark.parametrize(("asked", "expected"), REFUSED, ids=[" ".join(asked) for asked, _ in REFUSED])
def test_what_cannot_be_varied_is_refused(asked, expected):
    with pytest.raises(UserError) as error:
        read_networks(settings_of("networks=2", *asked))
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["networks=0"], "networks=0: must be a whole number of 1 or more"),
        (["networks=2", "batch_size=4"], "batch_size=4: must be 1 with networks=2"),
        (["values=[1]"], "networks=1: must be 2 or more for values=[1]"),
        (["vary=rule.a_post"], "networks=1: must be 2 or more for vary=rule.a_post"),
        (["networks=2", "values=3"], "values=3: must be a list of different values, such as [0.01,0.02], or null"),
        (["networks=2", "values=[[1],[2]]"], "must be a list of different values, such as [0.01,0.02], or null"),
        (["networks=2", "values=[4,4]"], "values=[4,4]: must be a list of different values"),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_values_that_do_not_fit_networks_are_refused(asked, expected):
    assert expected in refusal(*asked)
