"""Which engine is chosen, and why: what was asked for, or what is faster; trials are real, a GPU is only pretended."""

from dataclasses import replace

import pytest
import torch
from helpers.networks import make_model

from stdp_run.engines import selection
from stdp_run.engines.event.plasticity import functions_of
from stdp_run.engines.selection import EVENT, ON_CPU, ON_GPU, Choice, EngineOptions, choose, decide, faster_online
from stdp_run.engines.speed_trial import images_per_second
from stdp_run.errors import UserError
from stdp_run.network import initial_state
from stdp_run.neurons import LIF, DiehlCook2015
from stdp_run.rules import NearestOnline, Triplet

PAIR = ("nearest_online", "diehl_cook")


class OwnRule(NearestOnline):
    """A rule without a compiled implementation."""

    compiled = None


def asked(rule=NearestOnline, n_networks=1, **options):
    """Return the models and the options of a command."""
    return [replace(make_model(PAIR), rule=rule)] * n_networks, EngineOptions(**options)


def measured(**speeds):
    """Return a trial with known speeds in images/s, of event, cpu (torch) and cuda (torch)."""
    known = {EVENT: "event", ON_CPU: "cpu", ON_GPU: "cuda"}
    return lambda choice: speeds[known[choice._replace(why="")]]


def no_trial(choice):
    pytest.fail(f"a trial of {choice} is not needed")


@pytest.mark.parametrize(
    "options, expected, why",
    [
        ({}, EVENT, "faster one for online learning"),
        ({"n_networks": 3}, EVENT, "side by side"),
        ({"learning": False}, EVENT, "the faster one"),
        ({"batch_size": 16}, ON_CPU, "batch_size=16"),
        ({"rule": OwnRule}, ON_CPU, "OwnRule has no compiled implementation"),
        ({"engine": "torch"}, ON_CPU, "asked for"),
        ({"engine": "event"}, EVENT, "asked for"),
    ],
)
def test_without_a_gpu_nothing_is_measured(options, expected, why):
    chosen = decide(*asked(**options), False, no_trial)
    assert chosen._replace(why="") == expected
    assert why in chosen.why


@pytest.mark.parametrize(
    "options, speeds, expected",
    [
        ({}, {"event": 9000.0, "cuda": 60.0}, EVENT),
        ({}, {"event": 50.0, "cuda": 60.0}, ON_GPU),
        ({"n_networks": 200}, {"event": 9000.0, "cuda": 12000.0}, ON_GPU),
        ({"batch_size": 64}, {"cpu": 500.0, "cuda": 4000.0}, ON_GPU),
        ({"batch_size": 64}, {"cpu": 500.0, "cuda": 400.0}, ON_CPU),
        ({"rule": OwnRule}, {"cpu": 5.0, "cuda": 60.0}, ON_GPU),
        ({"engine": "torch"}, {"cpu": 80.0, "cuda": 60.0}, ON_CPU),
    ],
)
def test_with_a_gpu_the_fastest_in_a_trial_is_chosen_and_named_with_the_others(options, speeds, expected):
    chosen = decide(*asked(**options), True, measured(**speeds))
    assert chosen._replace(why="") == expected
    for speed in speeds.values():
        assert f"{speed:,.0f}" in chosen.why


def test_a_device_that_is_asked_for_is_taken_without_a_trial():
    assert decide(*asked(device="cuda"), True, no_trial)._replace(why="") == ON_GPU
    assert decide(*asked(device="cpu"), True, no_trial)._replace(why="") == EVENT
    assert decide(*asked(device="cpu", batch_size=2), True, no_trial)._replace(why="") == ON_CPU


@pytest.mark.parametrize(
    "options, has_gpu, line",
    [
        ({"device": "cuda"}, False, "device=cuda: no GPU that this build of torch can use; must be cpu or auto"),
        ({"engine": "event", "batch_size": 4}, False, "engine=event: batch_size=4: .*; must be 1, or engine=torch"),
        ({"engine": "event", "device": "cuda"}, True, "engine=event: device=cuda: .*; must be cpu or auto, or"),
        (
            {"engine": "event", "rule": OwnRule},
            False,
            "engine=event: .*OwnRule has no compiled implementation; give it one",
        ),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(options, has_gpu, line):
    with pytest.raises(UserError, match=line):
        decide(*asked(**options), has_gpu, no_trial)


def test_it_says_where_the_event_engine_would_be_faster():
    speeds = measured(event=9000.0, cuda=4000.0, cpu=500.0)
    said = faster_online(*asked(batch_size=64), ON_GPU, speeds)
    assert "9,000 images/s against 4,000 (batch_size=1)" in said
    assert "(device=cpu)" in faster_online(*asked(device="cuda"), ON_GPU, speeds)
    assert faster_online(*asked(batch_size=64), ON_GPU, measured(event=9000.0, cuda=9001.0)) is None
    assert "time: batch_size=1" in faster_online(*asked(batch_size=64), ON_CPU, no_trial)
    assert "time: engine=event" in faster_online(*asked(engine="torch"), ON_CPU, no_trial)
    assert faster_online(*asked(rule=OwnRule), ON_CPU, no_trial) is None
    assert faster_online(*asked(), EVENT, no_trial) is None


def test_the_log_says_what_was_chosen_and_nothing_of_learning_where_none_is_to_be(caplog):
    caplog.set_level("INFO")
    assert choose(*asked(device="cpu")) == EVENT._replace(why="the faster one for online learning (batch_size=1)")
    choose(*asked(device="cpu", batch_size=4, learning=False))
    choose(*asked(device="cpu", learning=False))
    assert caplog.messages == [
        "engine event on the CPU: the faster one for online learning (batch_size=1)",
        "engine torch on the CPU: as it learned",
        "engine event on the CPU: the faster one here",
    ]


def test_what_was_chosen_before_is_kept_without_a_trial(monkeypatch):
    monkeypatch.setattr(selection, "_has_gpu", lambda: True)
    monkeypatch.setattr(selection, "images_per_second", lambda group, batch_size: no_trial(group.name))
    for known in (EVENT, ON_GPU):
        assert choose(*asked(), known)[:2] == known[:2]
    monkeypatch.setattr(selection, "_has_gpu", lambda: False)
    with pytest.raises(UserError, match="device=cuda: what is resumed began on a GPU"):
        choose(*asked(), Choice("torch", "cuda"))


def test_making_an_engine_leaves_the_settings_of_the_process_alone():
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    [model], options = asked(engine="torch", threads=before[0] + 1, tf32=True, device="cpu")
    selection.make_engine(model, initial_state(model), options)
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before
    try:
        selection.set_process_options(before[0] + 1, True)
        assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (before[0] + 1, "high")
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])


@pytest.mark.parametrize("batch_size, n_networks", [(1, 1), (8, 1), (1, 3)])
def test_a_trial_learns_for_real(batch_size, n_networks):
    models, options = asked(n_networks=n_networks, engine="torch", device="cpu", batch_size=batch_size, threads=1)
    states = [initial_state(model) for model in models]
    group = selection.make_group(models, states, options)
    assert images_per_second(group, batch_size) > 1
    assert all((group.state(k).weight != states[k].weight).any() for k in range(n_networks))


def test_a_neuron_group_with_a_step_of_its_own_is_left_to_torch():
    class Own(DiehlCook2015):
        @classmethod
        def advance(cls, *arguments):
            return super().advance(*arguments)

    assert functions_of(Triplet, DiehlCook2015) is not None
    assert functions_of(Triplet, Own) is None
    assert functions_of(Triplet, type("Unchanged", (DiehlCook2015,), {})) is not None
    assert functions_of(Triplet, type("Cells", (LIF,), {"cells": Own.advance})) is None
