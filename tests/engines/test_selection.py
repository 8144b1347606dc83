"""The choice of engine and device, and its reason; the GPU is not real."""

from dataclasses import replace

import pytest
import torch
from helpers.networks import make_model
from helpers.runs import run_in

from stdp_run.engines import selection
from stdp_run.engines.event.learning import implementation_for
from stdp_run.engines.selection import EngineOptions, choose
from stdp_run.errors import UserError
from stdp_run.neurons import LIF, DiehlCook2015
from stdp_run.rules import MetaNearestOnline, NearestOnline, Triplet

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
        ({}, "event", "the faster engine for online learning"),
        ({"learning": False}, "event", "the faster engine for inference"),
        ({"learning": False, "batch_size": 16}, "event", "the faster engine for inference"),
        ({"engine": "event"}, "event", "engine=event"),
        ({"batch_size": 16}, "torch", "batch_size=16"),
        ({"rule": OwnRule}, "torch", "OwnRule with LIF has no compiled implementation"),
        ({"engine": "torch"}, "torch", "engine=torch"),
        ({"engine": "torch", "learning": False}, "torch", "engine=torch"),
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
    caplog.clear()
    assert choose(*asked(**{**options, "device": "cpu"})) == (engine, "cpu")
    remark = "engine=event batch_size=1 learns faster on a CPU, from one image at a time"
    assert (remark in caplog.messages) == (engine == "torch" and not options.keys() & {"rule", "learning"})


@pytest.mark.parametrize(
    "options, has_gpu, line",
    [
        ({"device": "cuda"}, False, "device=cuda: no GPU that this build of torch can use; a new run can have cpu or"),
        ({"engine": "event", "batch_size": 4}, False, "engine=event: batch_size=4: must be 1 .*; engine=torch can"),
        ({"engine": "event", "device": "cuda"}, True, "engine=event: device=cuda: must be cpu or auto"),
        ({"engine": "event", "rule": OwnRule}, False, "engine=event: OwnRule with LIF has no compiled"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(monkeypatch, options, has_gpu, line):
    monkeypatch.setattr(selection, "_has_gpu", lambda: has_gpu)
    with pytest.raises(UserError, match=line):
        choose(*asked(**options))


@pytest.mark.usefixtures("torch_settings", "without_plots")
@pytest.mark.parametrize(("words", "n_threads"), [((), 1), (("threads=99", "tf32=true"), 99)])
def test_a_run_that_learns_from_one_image_at_a_time_on_torch_takes_one_thread(tmp_path, caplog, words, n_threads):
    caplog.set_level("INFO")
    small = ("n_exc=5", "n_train=20", "n_test=10", "n_label=20", "encoder.steps=10", "trainer.log_every=20")
    run_in(tmp_path, "dataset=digits", "engine=torch", "device=cpu", *small, *words)
    found = torch.get_num_threads(), torch.get_float32_matmul_precision()
    assert found == (n_threads, "high" if words else "highest")
    assert ("torch takes one thread with batch_size=1; threads=N takes more" in caplog.messages) == (words == ())
    assert ("threads=99: slower than" in caplog.text) == (words != ())


def test_a_group_or_a_rule_without_compiled_code_is_left_to_torch():
    def own(base, **changed):
        return type("Own", (base,), changed)

    assert implementation_for(Triplet, DiehlCook2015) and implementation_for(MetaNearestOnline, LIF)
    assert implementation_for(Triplet, own(DiehlCook2015, excitatory=LIF.excitatory))
    assert not implementation_for(Triplet, own(DiehlCook2015, advance=LIF.advance))
    assert not implementation_for(Triplet, own(LIF, cells=LIF.advance))
    assert not implementation_for(Triplet, own(LIF, compiled=False))
    assert not implementation_for(MetaNearestOnline, DiehlCook2015), "the rule has no delays"
