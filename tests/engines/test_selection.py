"""Which engine is chosen, and why: what was asked for, or what is faster; trials are real, a GPU is only pretended."""

import pytest
from test_engines import make_model

from stdp_run.engines import make_networks
from stdp_run.engines.selection import EVENT, ON_CPU, ON_GPU, Request, choose, faster_online
from stdp_run.engines.speed_trial import images_per_second
from stdp_run.errors import UserError
from stdp_run.network import initial_state
from stdp_run.rules import NearestOnline

PAIR = ("nearest_online", "diehl_cook")


class OwnRule(NearestOnline):
    """A rule without a compiled spelling."""

    event_module = None


def request(rule=None, n_networks=1, **options) -> Request:
    model = make_model(PAIR)
    if rule is not None:
        model = type(model)(**{**vars(model), "rule": rule})
    return Request([model] * n_networks, **options)


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
        ({"batch_size": 16}, ON_CPU, "batch_size=16"),
        ({"rule": OwnRule}, ON_CPU, "OwnRule has no compiled spelling"),
        ({"engine": "torch"}, ON_CPU, "asked for"),
        ({"engine": "event"}, EVENT, "asked for"),
    ],
)
def test_without_a_gpu_nothing_is_measured(options, expected, why):
    chosen = choose(request(**options), False, no_trial)
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
    chosen = choose(request(**options), True, measured(**speeds))
    assert chosen._replace(why="") == expected
    for speed in speeds.values():
        assert f"{speed:,.0f}" in chosen.why


def test_a_device_that_is_asked_for_is_taken_without_a_trial():
    assert choose(request(device="cuda"), True, no_trial)._replace(why="") == ON_GPU
    assert choose(request(device="cpu"), True, no_trial)._replace(why="") == EVENT
    assert choose(request(device="cpu", batch_size=2), True, no_trial)._replace(why="") == ON_CPU


@pytest.mark.parametrize(
    "options, has_gpu, line",
    [
        ({"device": "cuda"}, False, "device=cuda: no GPU that this build of torch can use; must be cpu or auto"),
        ({"engine": "event", "batch_size": 4}, False, "engine=event: batch_size=4: .*; must be 1, or engine=torch"),
        ({"engine": "event", "device": "cuda"}, True, "engine=event: device=cuda: .*; must be cpu or auto, or"),
        ({"engine": "event", "rule": OwnRule}, False, "engine=event: .*OwnRule has no compiled spelling; give it one"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(options, has_gpu, line):
    with pytest.raises(UserError, match=line):
        choose(request(**options), has_gpu, no_trial)


def test_it_says_where_the_event_engine_would_be_faster():
    speeds = measured(event=9000.0, cuda=4000.0, cpu=500.0)
    said = faster_online(request(batch_size=64), ON_GPU, True, speeds)
    assert "9,000 images/s against 4,000 (batch_size=1)" in said
    assert "engine=auto device=cpu" in faster_online(request(device="cuda"), ON_GPU, True, speeds)
    assert faster_online(request(batch_size=64), ON_GPU, True, measured(event=9000.0, cuda=9001.0)) is None
    assert "batch_size=1" in faster_online(request(batch_size=64), ON_CPU, False, no_trial)
    for quiet in (request(engine="torch"), request(rule=OwnRule)):
        assert faster_online(quiet, ON_CPU, False, no_trial) is None
    assert faster_online(request(), EVENT, True, no_trial) is None


@pytest.mark.parametrize("batch_size, n_networks", [(1, 1), (8, 1), (1, 3)])
def test_a_trial_learns_for_real(batch_size, n_networks):
    models = [make_model(PAIR)] * n_networks
    states = [initial_state(model) for model in models]
    networks = make_networks(models, states, engine="torch", device="cpu", batch_size=batch_size, threads=1)
    assert images_per_second(networks, batch_size) > 1
    assert all((networks.state(k).weight != states[k].weight).any() for k in range(n_networks))
