"""Networks as NIR graphs: read by plain NumPy, spike by spike, and by importers that people use."""

import contextlib
import io
import json
import logging
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from helpers.errors import message_of
from helpers.runs import settings_of

from stdp_run.checkpoint import Checkpoint
from stdp_run.config.build import build_model
from stdp_run.encoding import SPIKES_EVALUATING, spikes_below
from stdp_run.engines.base import INHIBITORY
from stdp_run.engines.dense.engine import TorchEngine
from stdp_run.evaluation.labels import Labels
from stdp_run.evaluation.readouts import READOUTS, answer
from stdp_run.inference.export import export
from stdp_run.inference.load import Trained, image_index, load, read_trained
from stdp_run.inference.nir import IMPORTERS, nir_file
from stdp_run.network import initial_state, start_image, step
from stdp_run.neurons import LIF
from stdp_run.training.operations import layer_operations

nir = pytest.importorskip("nir")
N_EXC, N_IMAGES, N_STEPS = 12, 6, 60
SMALL = ("dtype=float64", f"n_exc={N_EXC}", f"encoder.steps={N_STEPS}", "encoder.dt=0.5", "encoder.max_rate_hz=400")
LIVELY = {  # by group: overrides that let many neurons fire, and the range of their thresholds
    "lif_stdp": (("neuron.w_ie=20", "neuron.w_init_max=0.15"), 3.0),
    "alif_stdp": (("neuron.w_ie=3", "neuron.w_init_max=0.03"), 0.3),
}


def make(neuron, *overrides, first_layer=None):
    """Return a network as it begins, with an own theta in each neuron, as if it had learned."""
    lively, spread = LIVELY.get(neuron, ((), 3.0))
    settings = settings_of(*SMALL, "tuned=none", f"neuron={neuron}", *lively, *overrides)
    model = build_model(settings)
    arrays = initial_state(model).arrays()
    arrays["theta"] = (arrays["theta"] + np.linspace(0, spread, N_EXC)).astype(model.theta_dtype)
    labels = Labels(np.arange(N_EXC) % 10, np.ones((10, N_EXC)))
    saved = Checkpoint(settings.record, ["event", "cpu"], arrays)
    return Trained(saved, settings, model, labels, tuple("0123456789"), first_layer)


def graph_of(trained, ending, folder):
    """Return the graph that is in the file."""
    (folder / f"network{ending}").write_bytes(nir_file(trained, IMPORTERS[ending]))
    return nir.read(folder / f"network{ending}")


def spikes_for(model, pixels, index):
    """Return the input spikes of pictures, float [T, B, I]."""
    limits = torch.from_numpy(model.inference_encoder.limits(pixels))
    n_steps = model.inference_encoder.n_steps
    return spikes_below(limits, torch.from_numpy(index), 0, 0, n_steps, model.seed, SPIKES_EVALUATING).float()


def own_spikes(trained, spikes):
    """Return the excitatory spikes [T, B, E] of the network itself."""
    weight, theta = (torch.from_numpy(trained.saved.state_dict[name]) for name in ("weight", "theta"))
    state, fired = start_image(trained.model, weight, theta, {}, spikes.shape[1]), []
    for each in spikes.to(weight.dtype):
        state, now = step(trained.model, state, each)
        fired.append(now.numpy())
    return np.array(fired)


STEPS = {  # how each importer takes a step of tau dv/dt = v_leak - v + r I: decay and gain, dt in seconds
    ".nir": lambda tau, dt: (1 - dt / tau, dt / tau),
    ".snntorch.nir": lambda tau, dt: (1 - 1e-4 / tau, 1e-4 / tau),
    ".sinabs.nir": lambda tau, dt: (np.exp(-1 / tau), 1),
    ".spyx.nir": lambda tau, dt: (1 - 1 / tau, 1),
}


def spikes_of_graph(graph, ending, spikes, subtracts):
    """Return the spikes [T, B, E] of a graph, by its nodes and edges; what feeds back arrives a step later."""
    nodes, back, at = graph.nodes, [], "excitatory"
    while (at := next(end for start, end in graph.edges if start == at and end != "output")) != "excitatory":
        back.append(at)
    cells = nodes["excitatory"]
    assert not cells.v_leak.any() and (cells.r == 1).all()
    decay, gain = STEPS[ending](cells.tau, graph.metadata["dt"])
    v, fired, all_fired = 0.0, np.zeros((spikes.shape[1], N_EXC)), []
    for each in spikes.numpy():
        for name in back:
            fired = fired @ nodes[name].weight.T + nodes[name].bias
        v = decay * v + gain * (each @ nodes["weights"].weight.T + nodes["weights"].bias + fired)
        fired = (v > cells.v_threshold).astype(float)
        v = np.where(fired > 0, v - cells.v_threshold if subtracts else 0.0, v)
        all_fired.append(fired)
    return np.array(all_fired)


# Networks that a graph expresses fully: group and overrides, ending of the file, whether the importer subtracts.
SAID = [*((["lif_stdp"], ending, False) for ending in IMPORTERS), (["alif_stdp"], ".sinabs.nir", True)]
SAID += [(["lif_stdp", "encoder.on_off=true", "evaluator.w_ie=7"], ".nir", False)]


@pytest.mark.parametrize(("network", "ending", "subtracts"), SAID)
def test_a_graph_fires_as_the_network_spike_by_spike(tmp_path, network, ending, subtracts):
    trained = make(*network)
    pixels = np.random.default_rng(0).integers(256, size=(N_IMAGES, 784)).astype(np.uint8)
    spikes = spikes_for(trained.model, pixels, np.arange(N_IMAGES))
    expected = own_spikes(trained, spikes)
    assert np.array_equal(spikes_of_graph(graph_of(trained, ending, tmp_path), ending, spikes, subtracts), expected)
    assert expected.any(axis=(0, 1)).all() and expected.mean() < 0.25  # every neuron fires, and not always


def test_a_graph_has_what_an_answer_takes(tmp_path):
    trained = make("lif_stdp", "evaluator.steps=40")
    known = graph_of(trained, ".nir", tmp_path).metadata
    assert (known["dt"], known["steps"], known["max_rate_hz"], known["seed"]) == (0.0005, 40, 400, 0)
    assert known["label"].tolist() == trained.labels.label.tolist() and known["mean_count"].shape == (10, N_EXC)
    assert np.array_equal(known["theta"], trained.saved.state_dict["theta"]) and known["readout"] == "all_activity"
    assert json.loads(known["classes"]) == list("0123456789")
    assert json.loads(known["settings"]) == trained.saved.config


def test_integers_become_real_numbers_that_are_rounded_down_on_average(tmp_path):
    trained = make("diehl_cook_int", "rule=post_pre_int")
    graph = graph_of(trained, ".nir", tmp_path)
    gain = 1 - 1013 / 1024
    assert np.array_equal(graph.nodes["excitatory"].v_threshold, trained.saved.state_dict["theta"])
    weight = trained.saved.state_dict["weight"] * 154 / 1024
    assert np.allclose(graph.nodes["weights"].weight * gain, weight, rtol=1e-12)
    assert np.allclose(graph.nodes["weights"].bias * gain, -1, rtol=1e-12)
    assert np.allclose(graph.nodes["inhibition"].weight * gain, (np.eye(N_EXC) - 1) * 32767 * 154 / 1024, rtol=1e-12)


@pytest.mark.parametrize(
    ("neuron", "ending", "lines"),
    [
        ("lif_stdp", ".nir", []),
        ("lif_stdp", ".sinabs.nir", ["neuron.v_reset=-60: Sinabs subtracts"]),
        ("alif_stdp", ".snntorch.nir", ["neuron.v_reset=2: the excess over the threshold is lost"]),
        ("diehl_cook", ".nir", ["neuron.refractory=5: dropped", "neuron.inhibitory_refractory=2: dropped"]),
        ("diehl_cook_int", ".nir", ["neuron.refractory=5: dropped", "neuron=diehl_cook_int: integers and bounds"]),
    ],
)
def test_what_a_graph_leaves_out_is_named_with_its_value(tmp_path, caplog, neuron, ending, lines):
    with caplog.at_level(logging.WARNING):
        rule = ("rule=post_pre_int",) if neuron == "diehl_cook_int" else ()
        graph = graph_of(make(neuron, *rule), ending, tmp_path)
    assert [message[: len(line)] for message, line in zip(caplog.messages, lines, strict=True)] == lines
    assert graph.nodes["weights"].weight.dtype == np.float64  # dtype, of integers too
    one_threshold = (graph.nodes["excitatory"].v_threshold == 1).all()
    loops = [(start, end) for start, end in graph.edges if (end, start) in graph.edges]
    assert (one_threshold, not loops) == (ending == ".snntorch.nir",) * 2


def test_what_a_graph_cannot_say_is_refused_in_a_line():
    plain, more = make("lif_stdp"), "more than a leaky potential, "
    own = type("Own", (LIF,), {"excitatory": LIF.inhibitory})
    for trained, line in (
        (make("diehl_cook_2015", "encoder.rest_steps=20"), f"neuron=diehl_cook_2015: {more}"),
        (plain._replace(model=replace(plain.model, neuron=own)), f"neuron=lif_stdp: {more}"),
        (make("lif_stdp", first_layer=initial_state(plain.model)), "checkpoint=None: two layers; "),
        (make("lif_stdp", "neuron.w_ei=20"), "neuron.w_ei=20.0: must be a value with which"),
        (make("lif_stdp", "neuron.inhibitory_v_reset=-80"), "neuron.w_ei=22.5: must be a value with which"),
        (make("lif_stdp", "neuron.inhibitory_v_threshold=-61"), "neuron.w_ei=22.5: must be a value with which"),
        (make("lif_stdp", "neuron.v_threshold=-66"), "checkpoint=None: the threshold of a neuron must be above"),
    ):
        assert message_of(partial(nir_file, trained, IMPORTERS[".nir"])).startswith(line)


class AllSteps(torch.nn.Module):
    """Presents spikes [B, T, I] to a torch module step by step; returns spikes [T, B, E]."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, spikes):
        fired, state = [], None
        for each in spikes.transpose(0, 1):
            now, state = self.network(each, state)
            fired.append(now)
        return torch.stack(fired)


def counts_of(network, spikes):
    """Return the spikes of each neuron [N, E] of a torch module, from input spikes [T, N, I]."""
    with torch.no_grad():
        return AllSteps(network)(spikes.transpose(0, 1)).sum(dim=0).numpy().astype(int)


def counts_by_spyx(importer, graph, spikes):
    """Return the same with Spyx, which gives a spike a step later."""
    _, fired = importer.from_nir(graph, np.pad(spikes.numpy(), ((0, 1), (0, 0), (0, 0))))
    return np.asarray(fired).sum(axis=0).astype(int)


# By ending: the importer, its counts, and the share of excitatory spikes that may be more or fewer.
COUNTS = {
    ".nir": ("norse.torch", lambda m, g, s: counts_of(m.from_nir(g, dt=float(g.metadata["dt"])), s), 0),
    ".snntorch.nir": ("snntorch.import_nir", lambda m, g, s: counts_of(m.import_from_nir(g), s), 0),
    # These two keep the excess over the threshold.
    ".sinabs.nir": ("sinabs.nir", lambda m, g, s: counts_of(m.from_nir(g, batch_size=s.shape[1]), s), 0.1),
    ".spyx.nir": ("spyx.nir", counts_by_spyx, 0.1),
}


@pytest.mark.weekly
@pytest.mark.filterwarnings("ignore")  # of the importers
@pytest.mark.parametrize("ending", COUNTS)
def test_importers_answer_as_the_network(finished_run, tmp_path, mnist, ending):
    """With the very same input spikes."""
    (module, count, changed), pixels = COUNTS[ending], mnist.test.pixels[:200].reshape(200, -1)
    trained, answers = read_trained(finished_run), load(finished_run).classify(pixels)
    spikes = spikes_for(trained.model, pixels, image_index(pixels))
    importer, graph = pytest.importorskip(module), nir.read(export(finished_run, tmp_path / f"network{ending}"))
    with contextlib.redirect_stdout(io.StringIO()):
        counts = count(importer, graph, spikes)
    classes = answer(READOUTS[trained.settings.evaluator.readout](counts, trained.labels))
    assert (classes == answers.class_index).mean() >= 0.99
    assert np.abs(counts - answers.counts).sum() <= changed * answers.counts.sum()
    assert answers.counts.sum() > 1000


@pytest.mark.filterwarnings("ignore")  # of the importer
@pytest.mark.parametrize(
    ("v_reset", "resets"),
    [pytest.param(-65, 0, marks=pytest.mark.slow), pytest.param(-60, 1, marks=pytest.mark.weekly)],
)
def test_neurobench_finds_the_same_effective_accumulates(tmp_path, v_reset, resets):
    """snnTorch's node `inhibitory` has the synapses to inhibitory neurons, one each.

    Its node `inhibition`, a matrix, has the synapses of inhibitory neurons. The diagonal is no synapse: it resets the
    neuron, with a weight that is 0 if `v_reset` is `v_rest`, -65 mV.
    """
    metric = pytest.importorskip("neurobench.metrics.workload.synaptic_operations").SynapticOperations()
    wrap = pytest.importorskip("neurobench.models").SNNTorchModel
    trained = make("lif_stdp", f"neuron.v_reset={v_reset}")
    pixels = np.random.default_rng(0).integers(256, size=(N_IMAGES, 784)).astype(np.uint8)
    state = initial_state(trained.model)
    state.theta[:] = trained.saved.state_dict["theta"]
    state.weight[:, ::3] = trained.saved.state_dict["weight"][:, ::3] = 0  # an accumulate needs a weight
    engine = TorchEngine(trained.model, state)
    counts = engine.count_spikes(pixels, np.arange(N_IMAGES))
    activity = engine.take_activity()
    graph = graph_of(trained, ".snntorch.nir", tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        network = pytest.importorskip("snntorch.import_nir").import_from_nir(graph)
    model = wrap(AllSteps(network), custom_forward=True)
    model.register_hooks()
    spikes = spikes_for(trained.model, pixels, np.arange(N_IMAGES)).transpose(0, 1)
    with torch.no_grad():
        fired = model(spikes)
        found = metric(model, fired, (spikes, None))
    assert np.array_equal(fired.sum(dim=1).numpy(), counts) and counts.sum() > 50
    own = layer_operations(activity, trained.model, state, N_IMAGES)["synaptic_operations"]["Effective_ACs"]
    assert found["Effective_ACs"] == pytest.approx(own + resets * activity[INHIBITORY] / N_IMAGES, rel=1e-12)
    assert found["Effective_MACs"] == 0
