"""Images that evoke too few spikes are presented again, brighter, with spikes of their own: alike on both engines."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import oracle
from helpers.networks import (
    ENGINES,
    EPOCH,
    ONE_PER_RULE,
    both_engines,
    count,
    each_of,
    largest_difference,
    learn,
    make,
    make_model,
    mnist,
    one_pair_per_rule,
    plain_network,
    same_bits,
)
from helpers.runs import settings_of

from stdp_run.config.build import build_model
from stdp_run.encoding import SPIKES_EVALUATING, SPIKES_LEARNING, presentation_key
from stdp_run.engines.event.sampling import IMAGES_AT_ONCE
from stdp_run.errors import UserError
from stdp_run.network import Encoder, initial_state


def again(model, min_spikes, rate_step_hz, max_repeats, **changes):
    """Return the model with images that are presented again."""
    encoder = replace(
        model.encoder, min_spikes=min_spikes, rate_step_hz=rate_step_hz, max_repeats=max_repeats, **changes
    )
    return replace(model, encoder=encoder)


def present_in_plain_loops(plain, image, n, encoder, learning, epoch, seed):
    """Return the counts of the last presentation of an image and how often it was presented again."""
    stream = SPIKES_LEARNING if learning else SPIKES_EVALUATING
    for repeat in range(encoder.max_repeats + 1):
        word, rate = epoch + repeat * 2**24, encoder.max_rate_hz + repeat * encoder.rate_step_hz
        trains = [
            oracle.pixel_spikes(value, j, n, word, seed, stream, encoder.n_steps, rate)
            if value
            else [0] * encoder.n_steps
            for j, value in enumerate(image)
        ]
        counts = np.sum(plain.present(list(zip(*trains, strict=True)), learning), axis=0)
        if counts.sum() >= encoder.min_spikes:
            break
    return counts.tolist(), repeat


@one_pair_per_rule
def test_spikes_sampled_ahead_by_a_second_thread_are_the_same(pair):
    model = again(make_model(pair), 8, 300.0, 2)
    one, two = (make("event", model, n_threads=n) for n in (1, 2))
    images = mnist(2)[: 3 * IMAGES_AT_ONCE + 5]
    expected = learn(one, images)
    in_parts = [learn(two, images[first : first + 60], first) for first in range(0, len(images), 60)]
    assert (np.concatenate(in_parts) == expected).all() and same_bits(one.state(), two.state())
    assert learn(two, images[:0]).shape == (0, model.n_exc)


@each_of(ONE_PER_RULE[:3])
def test_both_engines_agree_with_plain_loops(pair):
    norm = {} if pair[0] == "meta_nearest_online" else {"w_norm": 8.0}
    model = again(make_model(pair, 49, 4, 40, 600.0, seed=11, rule=norm), 3, 200.0, 2)
    images = mnist(4)[:6]
    plain = plain_network(pair, model, initial_state(model))
    networks = [make(engine, model) for engine in ENGINES]
    all_repeats = set()
    for learning, epoch in ((True, EPOCH), (False, 0)):
        presented = [
            present_in_plain_loops(plain, image, n, model.encoder, learning, epoch, model.seed)
            for n, image in enumerate(images.tolist())
        ]
        expected, repeats = zip(*presented, strict=True)
        all_repeats |= set(repeats)
        for network in networks:
            counts = learn(network, images, rates=np.ones(len(images))) if learning else count(network, images)
            assert counts.tolist() == list(expected)
            state = network.state()
            assert np.abs(state.weight - np.array(plain.rule.weight)).max() < 1e-9
            assert np.abs(state.theta - [neuron.theta for neuron in plain.excitatory]).max() < 1e-9
    assert len(all_repeats) > 1, "some images are presented again, not all as often"


@one_pair_per_rule
def test_engines_agree(pair):
    once = make_model(pair, rate_hz=250.0)
    model = replace(again(once, 6, 250.0, 3), inference=again(once, 6, 250.0, 3, n_steps=50).encoder, n_presentations=2)
    images = mnist(2)[:20]
    networks = [make(engine, model) for engine in ENGINES]
    torch_counts, event_counts = (learn(network, images) for network in networks)
    assert (torch_counts == event_counts).all()
    states = [network.state() for network in networks]
    assert largest_difference(*states) < 1e-9
    if pair[0] == "post_pre_int":
        assert same_bits(*states)
    presented_once = learn(make("event", once), images)
    quiet = presented_once.sum(axis=1) < 6
    assert quiet.sum() > 3, "many images are to be presented again"
    assert event_counts.sum() > presented_once.sum()
    # With learning off the counts are those of every batch size, thread and selection of images.
    expected = count(networks[1], mnist(2)[100:160], 100)
    assert (expected.sum(axis=1) >= 6).sum() > 20
    for batch_size in (1, 7):
        assert (count(make("torch", model, states[1], batch_size=batch_size), mnist(2)[100:160], 100) == expected).all()
    assert (count(make("event", model, states[1], n_threads=3), mnist(2)[100:160], 100) == expected).all()
    assert (count(networks[1], mnist(2)[130:140], 130) == expected[30:40]).all()


@both_engines
def test_an_image_is_presented_again_as_if_it_came_at_a_higher_rate(engine):
    # By hand, with networks that present everything once: 250 Hz, then 350 Hz and so on, with the word of the repeat.
    once = make_model(("full_online", "lif_stdp"), rate_hz=250.0)
    model = again(once, 8, 100.0, 4)
    counts = learn(make(engine, model), mnist(2)[:20])
    by_hand, state, repeats = [], initial_state(once), []
    rates = np.linspace(1, 0.4, 400)
    for n, image in enumerate(mnist(2)[:20]):
        for repeat in range(5):
            encoder = replace(once.encoder, max_rate_hz=250.0 + 100.0 * repeat)
            network = make(engine, replace(once, encoder=encoder), state)
            counted = network.learn(image[None], np.array([n]), presentation_key(EPOCH, repeat), rates[n : n + 1])[0]
            state = network.state()
            if counted.sum() >= 8:
                break
        by_hand.append(counted)
        repeats.append(repeat)
    assert (counts == by_hand).all()
    assert len(set(repeats)) > 2
    resumed = make(engine, model, state)
    assert same_bits(resumed.state(), state)


@both_engines
def test_a_black_image_is_presented_no_more_often_than_allowed_and_loud_ones_once(engine):
    once = make_model(("nearest_online", "diehl_cook"))
    images = mnist(2)[:8].copy()
    loud = learn(make(engine, once), images)
    assert (learn(make(engine, again(once, 0, 250.0, 5)), images) == loud).all(), "0 spikes: never again"
    assert (learn(make(engine, again(once, int(loud.sum(axis=1).min()), 250.0, 5)), images) == loud).all()
    images[3] = 0
    counts = learn(make(engine, again(once, 1, 250.0, 5)), images)
    assert not counts[3].any() and counts[4:].any()


def test_of_a_batch_those_images_are_presented_again_that_were_quiet():
    # With nothing to learn and thresholds that stay, a batch spikes as its images do one by one.
    still = {"a_post": 0.0, "a_pre": 0.0, "w_max": 1.0}
    model = make_model(("full_online", "lif_stdp"), rate_hz=250.0, rule=still, neuron={"theta_increment": 0.0})
    model = again(model, 8, 100.0, 4)
    state = initial_state(model)
    state.weight *= 30.0 / state.weight.sum(axis=1, keepdims=True)
    alone = learn(make("torch", model, state), mnist(2)[:22])
    assert (learn(make("torch", model, state, batch_size=8), mnist(2)[:22]) == alone).all()
    assert (alone.sum(axis=1) >= 8).sum() > 10
    # And with learning it resumes to the same last bit.
    learning = again(make_model(("nearest_online", "diehl_cook"), rate_hz=250.0), 8, 100.0, 4)
    whole, resumed = make("torch", learning, batch_size=6), make("torch", learning, batch_size=6)
    counts = learn(whole, mnist(2)[:18])
    first = learn(resumed, mnist(2)[:12])
    resumed = make("torch", learning, resumed.state(), batch_size=6)
    assert (np.concatenate([first, learn(resumed, mnist(2)[12:18], 12)]) == counts).all()
    assert same_bits(resumed.state(), whole.state())


def test_each_presentation_has_a_word_of_its_own_and_the_first_is_the_epoch():
    words = {presentation_key(epoch, repeat) for epoch in range(20) for repeat in range(256)}
    assert len(words) == 20 * 256 and max(words) < 2**32
    assert [presentation_key(epoch, 0) for epoch in range(20)] == list(range(20))


def test_rates_rise_by_the_step():
    encoder = Encoder(700, 63.75, 0.5, min_spikes=5, rate_step_hz=32.0, max_repeats=3)
    table = encoder.thresholds_by_repeat
    rates = [63.75, 95.75, 127.75, 159.75]
    assert table.tolist() == [[oracle.spike_threshold(rate, 0.5, value) for value in range(256)] for rate in rates]
    assert len(replace(encoder, min_spikes=0).thresholds_by_repeat) == 1


def test_the_preset_of_the_paper_presents_images_again_and_the_default_does_not():
    encoder = build_model(settings_of("experiment=diehl_cook_2015_400")).inference_encoder
    assert (encoder.min_spikes, encoder.rate_step_hz, encoder.max_repeats) == (5, 31.875, 10)
    assert build_model(settings_of()).encoder.min_spikes == 0
    for override, allowed in (
        ("encoder.min_spikes=-1", "a whole number of 0 or more"),
        ("encoder.rate_step_hz=-2", "a number from 0 to 1000000"),
        ("encoder.max_repeats=256", "a whole number from 0 to 255"),
    ):
        with pytest.raises(UserError, match=f"{override}: must be {allowed}"):
            settings_of(override)
