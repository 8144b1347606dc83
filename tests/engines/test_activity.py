"""The activity that engines count with learning off is that of plain loops and of recorded spikes."""

import numpy as np
from helpers.networks import (
    ENGINES,
    ONE_PER_RULE,
    both_engines,
    count,
    each_of,
    learn,
    make,
    make_model,
    pictures,
    plain_network,
    present_plainly,
)

from stdp_run.engines.base import EXCITATORY
from stdp_run.engines.dense.presentation import record_spikes
from stdp_run.network import initial_state

FLOAT, INT = ONE_PER_RULE[0], ONE_PER_RULE[-1]
TRIPLET = ("triplet", "diehl_cook_2015")


def numbers(activity) -> list[int]:
    return activity.tolist()


@each_of([FLOAT, INT])
def test_repeats_and_presentations_count_as_in_plain_loops(pair):
    again = {"min_spikes": 12, "rate_step_hz": 300.0, "max_repeats": 2}
    model, images = make_model(pair, 49, 4, 30, 600.0, encoder=again, n_presentations=3), pictures(49)[:5]
    plain, inputs = plain_network(pair, model, initial_state(model)), []
    n_excitatory, present = 0, plain.present

    def counted(spikes, learning):
        nonlocal n_excitatory
        counts = present(spikes, learning)
        inputs.append(np.sum(spikes, axis=0))
        n_excitatory += sum(counts)
        return counts

    plain.present = counted
    counts, repeats = present_plainly(plain, model, images)
    assert max(repeats) > 0 and n_excitatory > np.sum(counts), "spikes of all repeats count"
    expected = [len(inputs), n_excitatory, plain.n_inhibitory, *np.sum(inputs, axis=0).tolist()]
    for engine in ENGINES:
        network = make(engine, model)
        assert count(network, images).tolist() == counts
        assert numbers(network.take_activity()) == expected


@each_of([FLOAT, INT, TRIPLET])
def test_activity_is_that_of_recorded_spikes(pair):
    model = make_model(pair, n_steps=300, encoder={"min_spikes": 0})  # more steps than fit into a byte
    images, state = pictures(196)[:7], initial_state(model)
    inputs, excitatory, inhibitory = record_spikes(model, state, images, np.arange(7))
    expected = [7, excitatory.sum(), inhibitory.sum(), *inputs.sum(axis=(0, 1))]
    assert inhibitory.any() and inputs.sum(axis=(0, 1)).max() > 255
    for engine, options in (("torch", {}), ("event", {"n_threads": 2})):
        network = make(engine, model, **options)
        network._images_per_task = 3  # so that both threads present images
        count(network, images)
        assert numbers(network.take_activity()) == expected


@both_engines
def test_calls_add_up_until_the_activity_is_taken_and_learning_adds_nothing(engine):
    model, images = make_model(FLOAT), pictures(196)[:6]
    network = make(engine, model)
    for part in (slice(0, 2), slice(2, 6), slice(0, 0)):
        network.count_spikes(images[part], np.arange(6)[part])
    parts = network.take_activity()
    assert numbers(network.take_activity()) == [0] * (3 + 196)
    count(network, images)
    whole = network.take_activity()
    assert numbers(parts) == numbers(whole) and whole[EXCITATORY] > 0
    learn(network, images)
    assert numbers(network.take_activity()) == [0] * (3 + 196)
    assert numbers(parts + whole) == [2 * number for number in numbers(whole)]
