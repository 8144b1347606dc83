"""Settings that may differ when a run is resumed, or a network is evaluated; everything else is refused by name."""

from copy import deepcopy
from pathlib import Path

import pytest
from helpers.errors import message_of
from helpers.runs import composed, settings_of

from stdp_run.cli.overrides import key_of
from stdp_run.config.compatibility import differences, record_to_evaluate, record_to_resume
from stdp_run.config.schema import Settings, read_settings, resolved

RUN = settings_of("n_exc=60").record


def resumed(*words: str, run: dict = RUN) -> Settings:
    """Return the settings of a run that a command resumes."""
    existing = deepcopy(run)
    record = record_to_resume(resolved(composed(*words)), existing, Path("run"), tuple(map(key_of, words)))
    assert existing == run
    return read_settings(record)


def evaluated(*words: str, learned: dict = RUN) -> Settings:
    """Return the settings of an evaluation."""
    words = ("mode=eval", "checkpoint=c.pt", *words)
    return read_settings(record_to_evaluate(resolved(composed(*words)), learned, "c.pt", tuple(map(key_of, words))))


def test_the_same_command_resumes_a_run():
    assert resumed("n_exc=60").record == RUN
    changed = resumed("n_exc=60", "threads=2", "trainer.keep_checkpoints=true").record
    assert differences(changed, RUN, ()) == ["threads=2 (there: null)", "trainer.keep_checkpoints=true (there: false)"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("n_exc=60", "k_winners=2", "seed=1"), ["k_winners=2 (there: null)", "seed=1 (there: 0)"]),
        (("n_exc=60", "rule=post_pre_int"), ["rule.nu0=3 (there: not set)", "rule.a_post=not set (there: 0.04)"]),
        (("resume=run", "n_exc=61"), ["n_exc=61 (there: 60)"]),
        (("resume=run", "experiment=mnist_100"), ["n_exc=100 (there: 60)", "epochs=3 (there: 1)"]),
        (("resume=run", "rule=full_online"), ["rule.name=full_online (there: nearest_online)"]),
    ],
    ids=" ".join,
)
def test_other_settings_are_refused_by_name(words, named):
    line = message_of(lambda: resumed(*words))
    assert line.startswith("run holds a run with other settings: ") and all(item in line for item in named)
    if "resume=run" in words:
        assert ("n_exc" in line) == any("n_exc" in item for item in named), "only what the command says"


def test_a_network_is_evaluated_on_other_data_and_engines():
    settings = evaluated("dataset.split=validation", "n_test=300", "engine=torch", "evaluator.readout=proportion")
    assert (settings.mode, settings.checkpoint, settings.n_exc, settings.engine) == ("eval", "c.pt", 60, "torch")
    assert (settings.dataset.split, settings.dataset.name, settings.n_test) == ("validation", "mnist", 300)
    assert (settings.evaluator.readout, settings.evaluator.n_presentations) == ("proportion", 1)
    assert evaluated("dataset=image_folder", "dataset.root=mine").dataset.options["root"] == "mine"
    preset = settings_of("experiment=mnist_100").record
    assert evaluated("experiment=mnist_100", "n_exc=100", learned=preset).n_exc == 100, "the same may be said"


def test_counts_of_images_belong_to_the_data_that_was_learned():
    learned = settings_of("n_train=500", "n_label=400", "n_test=300").record
    for words, counts in (
        ((), (500, 400, 300)),
        (("dataset.split=train",), (None, None, 300)),
        (("dataset=digits",), (None, None, None)),
        (("dataset=digits", "n_test=20"), (None, None, 20)),
    ):
        settings = evaluated(*words, learned=learned)
        assert (settings.n_train, settings.n_label, settings.n_test) == counts


def test_a_network_is_not_evaluated_with_other_settings():
    line = message_of(lambda: evaluated("n_exc=41", "rule.a_post=0.5"))
    assert line == "checkpoint=c.pt was made with other settings: n_exc=41 (there: 60), rule.a_post=0.5 (there: 0.04)"
