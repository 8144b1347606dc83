"""Settings: read in one place, typed, with a record of what they were read from."""

import pytest
from helpers.runs import settings_of

from stdp_run.config.build import build_model, published
from stdp_run.config.schema import read_settings
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
