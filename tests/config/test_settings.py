"""Settings: read by one function, typed, with the record that they were read from."""

import pytest
from helpers.errors import message_of
from helpers.runs import settings_of

from stdp_run.config.build import build_model, published
from stdp_run.config.schema import read_settings


def test_sections_are_typed_and_the_record_is_the_resolved_config():
    settings = settings_of("n_exc=7", "rule.a_pre=${rule.a_post}", "dataset=image_folder", "dataset.width=30")
    assert (settings.n_exc, settings.encoder.steps, settings.trainer.schedule) == (7, 316, "exponential")
    assert (settings.rule.name, settings.rule.target) == ("nearest_online", "stdp_run.rules.NearestOnline")
    assert settings.record["rule"]["a_pre"] == settings.rule.constants["a_pre"] == 0.04
    assert settings.dataset.n_inputs == 28 * 30
    own = {"root": None, "prepare": "frame", "invert": None, "test_every": 5, "class_names": None}
    assert settings.dataset.options == own
    assert not settings.record.keys() & {"checkpoint", "predict", "export", "compare", "perturbation"}
    assert read_settings(settings.record) == settings, "a saved record reads the same"


@pytest.mark.parametrize(
    ("words", "norm"),
    [
        ((), 0.11543 * 784),
        (("dataset=digits", "tuned=none"), 0.1 * 64),
        (("dataset=image_folder", "dataset.height=10"), 0.11543 * 280),
        (("rule.w_norm=1e-2 per input",), 7.84),
        (("rule.w_norm=45",), 45.0),
    ],
)
def test_a_constant_per_input_counts_the_inputs(words, norm):
    settings = settings_of(*words)
    assert settings.rule.constants["w_norm"] == build_model(settings).rule_parameters.w_norm == norm
    assert (settings.record["rule"]["w_norm"] == norm) == ("rule.w_norm=45" in words), "config.yaml keeps the text"
    assert published("rule", "nearest_online", 100)["w_norm"] == 10.0


def test_keys_of_other_modes_and_missing_keys_are_refused():
    record = settings_of("mode=eval", "checkpoint=a").record
    assert record["checkpoint"] == "a" and "predict" not in record
    for changed, line in (
        ({"mode": "train"}, "checkpoint=a: only valid with mode=eval, predict, export; resume=DIRECTORY resumes a run"),
        ({"checkpoint": None}, "checkpoint=null: mode=eval needs the checkpoint.pt of a run, checkpoint=PATH"),
        ({"predict": {"csv": "b"}}, "predict.csv=b: only valid with mode=predict"),
        ({"mode": "predict", "predict": {"images": "a"}}, "predict.csv: missing"),
        ({"mode": None}, "mode=null: must be one of train, eval, predict, export, compare, stdp_window"),
        ({"first_layer": 3}, "first_layer=3: must be none, patches, or the directory of a run"),
    ):
        assert message_of(lambda changed=changed: read_settings({**record, **changed})) == line
    del record["evaluator"]
    assert message_of(lambda: read_settings(record)) == "evaluator: missing"
