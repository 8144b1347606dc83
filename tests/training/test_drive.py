"""Runs that only ask, and a group of networks that only counts: who is served when, and who saves what."""

import logging
import os
import signal
from functools import partial

import numpy as np
import pytest

from stdp_run.engines.base import InferenceBatch, TrainingBatch
from stdp_run.training.drive import count_spikes, drive, drive_together
from stdp_run.training.signals import Interruption


def counts_of(request):
    return request.image_index[:, None] * np.array([1, 10])


class Group:
    """Serves at most `most` images of a request, the same number of each."""

    def __init__(self, n_networks, most=10**6):
        self.models = [f"model {k}" for k in range(n_networks)]
        self.most, self.served = most, []

    def answer(self, requests):
        n_images = min(self.most, *(len(each.pixels) for each in requests.values()), 10**6)
        self.served.append((sorted(requests), {type(each) for each in requests.values()}, n_images))
        return {k: counts_of(each)[:n_images] for k, each in requests.items()}

    def state(self, k):
        return f"state {k}"


def complete(group, runs, interruption=None):
    """Bring runs, generators that need no network, to their end."""
    return drive_together([lambda _, run=run: run for run in runs], group, 5, interruption or Interruption("."))


def learn(n_images, at_once, seen=None):
    """A run that learns from images, so many at once, and returns how many spikes it was sent."""
    done, total = 0, 0
    while done < n_images:
        index = np.arange(done, min(done + at_once, n_images))
        counts = yield TrainingBatch(index[:, None], index, 0, np.ones(len(index)))
        assert np.array_equal(counts, counts_of(InferenceBatch(index, index))[: len(counts)])
        done, total = done + len(counts), total + int(counts.sum())
        if seen is not None:
            seen.append(done)
    return total


def test_one_network_is_presented_all_that_its_run_asks_for():
    class Engine:
        def learn(self, pixels, image_index, epoch, rate, max_learners):
            return counts_of(InferenceBatch(pixels, image_index))

    assert drive(learn(10, 4), Engine()) == 45 * 11


@pytest.mark.parametrize("most", [1, 3, 100])
def test_an_evaluation_gets_the_counts_of_whole_slices_however_they_were_served(most):
    index = np.array([5, 3, 8, 1, 9])

    def evaluation():
        counts = [(yield slice(0, 2)), (yield slice(2, 5))]
        assert [len(each) for each in counts] == [2, 3]
        return np.concatenate(counts)

    group, done = Group(1, most), []
    [found] = complete(group, [count_spikes(evaluation(), index[:, None], index, done.append)])
    assert np.array_equal(found, counts_of(InferenceBatch(index, index)))
    assert sum(done) == 5 and max(done) <= most


def test_each_run_gets_its_own_counts_and_result():
    group = Group(3, most=7)
    assert complete(group, [learn(n, 10) for n in (30, 31, 8)]) == [sum(range(n)) * 11 for n in (30, 31, 8)]
    assert group.served[0][0] == [0, 1, 2] and group.served[-1][0] == [1]


def test_each_run_sees_its_own_network():
    def state(network):
        yield TrainingBatch(np.zeros((1, 1)), np.zeros(1, int), 0, np.ones(1))
        return network.state()

    assert drive_together([state, state], Group(2), 5, Interruption(".")) == ["state 0", "state 1"]


def test_those_that_learn_are_served_first_so_that_all_evaluate_together():
    def learn_and_test(n_images):
        yield from learn(n_images, 10)
        return (yield InferenceBatch(np.zeros((1, 1)), np.array([4])))

    group = Group(3)
    complete(group, [learn_and_test(n) for n in (20, 40, 20)])
    kinds = [(numbers, kind.__name__) for numbers, kinds, _ in group.served for kind in kinds]
    assert kinds == [([0, 1, 2], "TrainingBatch")] * 2 + [([1], "TrainingBatch")] * 2 + [([0, 1, 2], "InferenceBatch")]


@pytest.mark.parametrize(("seconds", "asked"), [(0.01, [1, 50, 50]), (0.7, [1, 1, 1]), (1e-5, [1, 250, 250])])
def test_all_ask_for_as_many_images_as_take_half_a_second(monkeypatch, seconds, asked):
    now, asked_by = [0.0], [[], []]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    class Timed(Group):
        def answer(self, requests):
            now[0] += seconds * max(len(each.pixels) for each in requests.values())
            return super().answer(requests)

    def run(k, network):
        for _ in range(3):
            n_images, before = network.images_at_once, network.seconds
            asked_by[k].append(n_images)
            yield TrainingBatch(np.zeros((n_images, 1)), np.arange(n_images), 0, np.ones(n_images))
            assert network.seconds - before == pytest.approx(seconds * n_images)

    drive_together([partial(run, 0), partial(run, 1)], Timed(2), 1, Interruption("."))
    assert asked_by == [asked, asked]


@pytest.fixture
def handled():
    """The numbers of the signals that reached the handler there was before."""
    numbers = []
    before = signal.signal(signal.SIGTERM, lambda number, _: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)


def test_at_a_signal_every_run_sees_it_and_asks_again_before_it_is_handed_on(tmp_path, caplog, handled):
    seen = [[], []]

    class Signalled(Group):
        def answer(self, requests):
            if len(self.served) == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().answer(requests)

    def run(k, interruption):
        for done in range(4):
            yield TrainingBatch(np.zeros((1, 1)), np.zeros(1, int), 0, np.ones(1))
            seen[k].append((done, interruption.pending is not None, len(handled)))

    with Interruption(tmp_path) as interruption, caplog.at_level(logging.WARNING):
        complete(Signalled(2), [run(k, interruption) for k in range(2)], interruption)
    # A handler that returns, such as one of submitit, lets the runs carry on.
    assert seen[0] == seen[1] == [(0, False, 0), (1, True, 0), (2, False, 1), (3, False, 1)]
    assert f"SIGTERM: stopped; `stdp-run resume={tmp_path}` resumes" in caplog.text


def test_when_one_fails_all_close_what_they_have_open():
    closed = []

    def run(k):
        try:
            yield TrainingBatch(np.zeros((1, 1)), np.zeros(1, int), 0, np.ones(1))
            if k == 1:
                raise ArithmeticError("in the second")
            yield TrainingBatch(np.zeros((1, 1)), np.zeros(1, int), 0, np.ones(1))
        finally:
            closed.append(k)

    with pytest.raises(ArithmeticError, match="in the second"):
        complete(Group(3), [run(k) for k in range(3)])
    assert sorted(closed) == [0, 1, 2]
