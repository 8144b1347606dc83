"""What may differ when a run is resumed, or a network is evaluated; everything else is refused by name."""

import copy
from pathlib import Path

import pytest
from helpers.runs import settings_of

from stdp_run.cli.overrides import key_of
from stdp_run.config.compatibility import differences, settings_to_evaluate, settings_to_resume
from stdp_run.config.schema import Settings, read_settings
from stdp_run.errors import UserError

RUN = Path("run")
THERE = settings_of("n_exc=60").with_values({"engine": "event", "device": "cpu"}).record  # auto chose these


def resumed(*words: str) -> Settings:
    return settings_to_resume(settings_of(*words), THERE, RUN, tuple(map(key_of, words)))


def evaluated(*words: str) -> Settings:
    asked = settings_of("mode=eval", "checkpoint=c.pt", *words)
    return settings_to_evaluate(asked, THERE, "c.pt", ("mode", "checkpoint", *map(key_of, words)))


def test_the_same_command_resumes_a_run_with_the_engine_that_it_began_with():
    settings = resumed("n_exc=60")
    assert (settings.engine, settings.device) == ("event", "cpu")
    assert {**settings.record, "engine": "auto", "device": "auto"} == settings_of("n_exc=60").record
    assert (resumed("n_exc=60", "engine=event").engine, resumed("resume=run", "engine=auto").engine) == ("event",) * 2


def of_an_earlier_version(record: dict, shuffle: bool) -> dict:
    """Return the record as it was when the order of the images was `trainer.shuffle` and there were no rests."""
    trainer = {**{key: value for key, value in record["trainer"].items() if key != "order"}, "shuffle": shuffle}
    encoder = {key: value for key, value in record["encoder"].items() if key != "rest_steps"}
    layer = {"first_layer": of_an_earlier_version(record["first_layer"], True)} if record.get("first_layer") else {}
    kept = {key: value for key, value in record.items() if key not in ("config_dir", "first_layer")}
    return {**kept, "trainer": trainer, "encoder": encoder, **layer}


@pytest.mark.parametrize(("shuffle", "order"), [(True, "shuffled"), (False, "as_stored")])
def test_records_of_earlier_versions_are_read_resumed_and_evaluated(shuffle, order):
    there = of_an_earlier_version(THERE, shuffle)
    before = copy.deepcopy(there)
    words = ("n_exc=60", f"trainer.order={order}")
    explicit = tuple(map(key_of, words))
    assert read_settings(there).record == {**THERE, "trainer": {**THERE["trainer"], "order": order}}
    assert settings_to_resume(settings_of(*words), there, RUN, explicit).trainer.order == order
    named = settings_to_resume(settings_of("resume=run", "threads=2"), there, RUN, ("resume", "threads"))
    assert (named.trainer.order, named.threads) == (order, 2)
    asked = settings_of("mode=eval", "checkpoint=c.pt", *words)
    assert settings_to_evaluate(asked, there, "c.pt", explicit).trainer.order == order
    with pytest.raises(UserError, match=rf"trainer\.order=by_class \(there: {order}\)"):
        settings_to_resume(settings_of("n_exc=60", "trainer.order=by_class"), there, RUN, ())
    assert there == before


def test_records_of_two_layers_of_earlier_versions_are_read():
    now = settings_of("first_layer=patches", "dataset=digits").record
    there = of_an_earlier_version(now, True)
    assert "shuffle" in there["first_layer"]["trainer"]
    assert read_settings(there).record == now


def test_the_name_of_a_run_resumes_it_with_its_own_settings():
    words = ("resume=run", "threads=2", "trainer.checkpoint_every=50", "trainer.plot_every=null")
    settings = resumed(*words)
    assert (settings.n_exc, settings.engine, settings.resume) == (60, "event", "run")
    assert (settings.threads, settings.trainer.checkpoint_every, settings.trainer.plot_every) == (2, 50, None)
    assert settings.trainer.checkpoint_seconds == 30, "as the run has it"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("n_exc=61",), ["n_exc=61 (there: 60)"]),
        (("n_exc=60", "rule.a_post=0.5", "k_winners=2"), ["rule.a_post=0.5 (there: 0.04)", "k_winners=2"]),
        (("n_exc=60", "engine=torch"), ["engine=torch (there: event)"]),
        (("n_exc=60", "rule=full_online"), ["rule.name=full_online (there: nearest_online)"]),
        (("n_exc=60", "rule=post_pre_int"), ["rule.nu0=3 (there: not set)", "rule.a_post=not set (there: 0.04)"]),
        (("resume=run", "n_exc=61"), ["n_exc=61 (there: 60)"]),
        (("resume=run", "experiment=mnist_100"), ["n_exc=100 (there: 60)", "epochs=3 (there: 1)"]),
        (("resume=run", "engine=torch"), ["engine=torch (there: event)"]),
        (("resume=run", "rule=full_online"), ["rule.name=full_online (there: nearest_online)"]),
    ],
    ids=lambda value: " ".join(value)[:50],
)
def test_other_settings_are_refused_by_name(words, named):
    with pytest.raises(UserError, match="run holds a run with other settings: ") as error:
        resumed(*words)
    for item in named:
        assert item in str(error.value)
    if words[0] == "resume=run":
        assert ("n_exc" in str(error.value)) == any("n_exc" in item for item in named), "only what the command says"


def test_a_directory_with_a_run_can_be_refused():
    with pytest.raises(UserError, match="resume=null: run holds a run; resume=auto resumes it"):
        resumed("n_exc=60", "resume=null")


def test_a_network_is_evaluated_on_other_data_and_engines():
    settings = evaluated("dataset.split=validation", "n_test=300", "engine=torch", "evaluator.readout=proportion")
    assert (settings.mode, settings.checkpoint, settings.n_exc, settings.engine) == ("eval", "c.pt", 60, "torch")
    assert (settings.dataset.split, settings.dataset.name, settings.n_test) == ("validation", "mnist", 300)
    assert (settings.evaluator.readout, settings.evaluator.n_presentations) == ("proportion", 1)
    assert evaluated("dataset=image_folder", "dataset.root=mine").dataset.options["root"] == "mine"
    assert evaluated("n_exc=60").n_exc == 60, "what is the same may be said"


@pytest.mark.parametrize(
    ("word", "named"),
    [("n_exc=41", "n_exc=41 (there: 60)"), ("rule.a_post=0.5", "rule.a_post=0.5 (there: 0.04)")],
)
def test_a_network_is_not_evaluated_as_what_it_is_not(word, named):
    with pytest.raises(UserError, match="checkpoint=c\\.pt was made with other settings: ") as error:
        evaluated(word)
    assert named in str(error.value)


def test_a_preset_may_be_named_that_agrees_with_the_network():
    there = settings_of("experiment=mnist_100").with_values({"engine": "event", "device": "cpu"}).record
    asked = settings_of("mode=eval", "checkpoint=c.pt", "experiment=mnist_100")
    assert settings_to_evaluate(asked, there, "c.pt", ("experiment",)).n_exc == 100


def test_differences_name_every_key():
    asked, there = {"a": 1, "b": {"c": None, "d": 2}, "e": 3}, {"a": 1.0, "b": {"c": 2, "d": 3}}
    assert differences(asked, there, ["b.d"]) == ["b.c=null (there: 2)", "e=3 (there: not set)"]
    assert differences(asked, there, ["b", "e"]) == []


def test_records_without_a_perturbation_are_resumed_and_evaluated():
    """As all records were before there was one."""
    old = {key: value for key, value in THERE.items() if key != "perturbation"}
    assert read_settings(old).record == THERE
    for words in (("n_exc=60",), ("resume=run",)):
        settings = settings_to_resume(settings_of(*words), old, RUN, tuple(map(key_of, words)))
        assert settings.perturbation is None and settings.n_exc == 60
    words = ("mode=eval", "checkpoint=c.pt", "perturbation=shift", "perturbation.strength=3")
    settings = settings_to_evaluate(settings_of(*words), old, "c.pt", tuple(map(key_of, words)))
    assert settings.record["perturbation"]["strength"] == 3
    again = settings_to_evaluate(settings_of(*words[:2]), settings.record, "c.pt", ("mode", "checkpoint"))
    assert again.perturbation is None, "a perturbation belongs to its command"
