"""Which engine and device are chosen, and why; a GPU is only pretended."""

from dataclasses import replace

import pytest
import torch
from helpers.networks import make_model
from helpers.runs import run_in

from stdp_run.engines import selection
from stdp_run.engines.event.learning import implementation_for
from stdp_run.engines.selection import EngineOptions, choose
from stdp_run.errors import UserError
from stdp_run.network import initial_state
from stdp_run.neurons import LIF, DiehlCook2015
from stdp_run.rules import MetaNearestOnline, NearestOnline, Triplet
from stdp_run.system import available_cores

PAIR = ("nearest_online", "diehl_cook")


class OwnRule(NearestOnline):
    """A rule without a compiled implementation."""

    compiled = None


def asked(rule=NearestOnline, **options):
    """Return the model and the options of a command."""
    return replace(make_model(PAIR), rule=rule), EngineOptions(**options)


@pytest.mark.parametrize("has_gpu", [False, True])
@pytest.mark.parametrize(
    "options, engine, why",
    [
        ({}, "event", "the faster one for online learning"),
        ({"learning": False}, "event", "the faster one for inference"),
        ({"learning": False, "batch_size": 16}, "event", "the faster one for inference"),
        ({"engine": "event"}, "event", "engine=event"),
        ({"batch_size": 16}, "torch", "batch_size=16"),
        ({"rule": OwnRule}, "torch", "OwnRule with LIF has no compiled implementation"),
        ({"engine": "torch"}, "torch", "engine=torch"),
    ],
)
def test_the_engine_follows_from_the_request_and_a_gpu_only_runs_torch(
    monkeypatch, caplog, has_gpu, options, engine, why
):
    caplog.set_level("INFO")
    monkeypatch.setattr(selection, "_has_gpu", lambda: has_gpu)
    device = "cuda" if has_gpu and engine == "torch" else "cpu"
    assert choose(*asked(**options)) == (engine, device)
    assert caplog.messages[0].startswith(f"engine {engine} on the {'GPU' if device == 'cuda' else 'CPU'}: {why}")
    assert choose(*asked(**{**options, "device": "cpu"})) == (engine, "cpu")
    if has_gpu and options.get("engine") != "event":
        assert choose(*asked(**{**options, "device": "cuda"})) == ("torch", "cuda")


@pytest.mark.parametrize(
    "options, has_gpu, line",
    [
        ({"device": "cuda"}, False, "device=cuda: no GPU that this build of torch can use; a new run can have cpu or"),
        ({"engine": "torch", "device": "cuda"}, False, "device=cuda: no GPU"),
        (
            {"engine": "event", "batch_size": 4},
            False,
            "engine=event: batch_size=4: must be 1 .*; engine=torch can",
        ),
        ({"engine": "event", "device": "cuda"}, True, "engine=event: device=cuda: must be cpu or auto"),
        ({"engine": "event", "rule": OwnRule}, False, "engine=event: OwnRule with LIF has no compiled"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(monkeypatch, options, has_gpu, line):
    monkeypatch.setattr(selection, "_has_gpu", lambda: has_gpu)
    with pytest.raises(UserError, match=line):
        choose(*asked(**options))


@pytest.mark.parametrize(
    "options, is_faster",
    [
        ({"batch_size": 64}, True),
        ({"engine": "torch"}, True),
        ({"engine": "torch", "learning": False}, False),
        ({"rule": OwnRule}, False),
        ({}, False),
    ],
)
def test_the_log_says_where_the_event_engine_would_be_faster(caplog, options, is_faster):
    caplog.set_level("INFO")
    choose(*asked(device="cpu", **options))
    remark = "engine=event batch_size=1 learns faster on a CPU, from one image at a time"
    assert caplog.messages[1:] == ([remark] if is_faster else [])


def test_making_an_engine_leaves_the_settings_of_the_process_alone():
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    model, options = asked(engine="torch", threads=before[0] + 1, tf32=True, device="cpu")
    selection.make_engine(model, initial_state(model), options)
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before
    try:
        selection.set_process_options(before[0] + 1, True)
        assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (before[0] + 1, "high")
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])


@pytest.mark.parametrize("words", [(), ("threads=99",), ("batch_size=2",)])
def test_a_run_that_learns_from_one_image_at_a_time_on_torch_takes_one_thread(tmp_path, monkeypatch, caplog, words):
    caplog.set_level("INFO")
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("stdp_run.training.plot_writer.PlotWriter.submit", lambda *_: None)
    small = ("n_exc=5", "n_train=20", "n_test=10", "n_label=20", "encoder.steps=10", "trainer.log_every=20")
    before, cores = torch.get_num_threads(), available_cores()
    try:
        run_in(tmp_path, "dataset=digits", "engine=torch", "device=cpu", *small, *words)
        expected = {(): 1, ("threads=99",): 99, ("batch_size=2",): cores}
        assert torch.get_num_threads() == expected[words]
    finally:
        torch.set_num_threads(before)
    assert ("torch takes one thread with batch_size=1; threads=N takes more" in caplog.messages) == (words == ())
    warning = f"threads=99: more than the {cores} cores there are make it slower"
    assert (warning in caplog.messages) == (words == ("threads=99",))


def test_a_neuron_group_with_its_own_advance_or_cells_is_left_to_torch():
    class Own(DiehlCook2015):
        @classmethod
        def advance(cls, *arguments):
            return super().advance(*arguments)

    assert implementation_for(Triplet, DiehlCook2015) is not None
    assert implementation_for(Triplet, Own) is None
    assert implementation_for(Triplet, type("Unchanged", (DiehlCook2015,), {})) is not None
    assert implementation_for(Triplet, type("Cells", (LIF,), {"cells": Own.advance})) is None


def test_a_rule_needs_an_implementation_with_delays_where_the_group_runs_on():
    assert implementation_for(MetaNearestOnline, LIF) is not None
    assert implementation_for(MetaNearestOnline, DiehlCook2015) is None
    assert implementation_for(Triplet, type("Torch", (LIF,), {"compiled": False})) is None


def test_the_refusal_names_the_pair_that_has_no_compiled_implementation():
    model = replace(make_model(("meta_nearest_online", "lif_stdp")), neuron=DiehlCook2015)
    line = "engine=event: MetaNearestOnline with DiehlCook2015 has no compiled implementation"
    with pytest.raises(UserError, match=line):
        choose(model, EngineOptions(engine="event"))
