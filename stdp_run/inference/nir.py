"""Exports a trained network as a NIR graph, which simulators import.

NIR is described by Pedersen et al. 2024 (doi 10.1038/s41467-024-52259-9). The graph is::

    input -> weights -> excitatory -> output,  excitatory -> inhibition -> excitatory

The node `excitatory` is NIR's LIF, `tau dv/dt = v_leak - v + r I`, with a spike and a reset if v > v_threshold. The
importers below ignore r and v_reset. Each has its own step (`Importer`) with the input spikes of this step and the
excitatory spikes of the previous step::

    v <- decay v + gain I
    spike if v > v_threshold; at a spike v <- 0, or v <- v - v_threshold

The network's step, with u = V - V_rest (`neurons.base.Membrane`), is `u <- d u + s I + b`; after a spike u is u_reset.
The two steps agree with::

    v = u,  v_leak = v_reset = 0,  r = 1,  v_threshold = V_threshold + theta - V_rest (theta is constant)
    tau         from decay = d
    weights     s w / gain, with the bias b / gain
    inhibition  -s w_ie / gain, and on the diagonal d u_reset / gain

An inhibitory neuron fires with its partner in the same step, so it needs no node. The diagonal adds the decayed
u_reset one step after a spike. With a subtracting reset, u_reset is v_threshold - V_reset.
"""

import io
import json
import logging
import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from stdp_run.errors import UserError
from stdp_run.inference.load import Trained
from stdp_run.network import Model

LAYOUT = "stdp-run nir 1"

log = logging.getLogger(__name__)


class Importer(NamedTuple):
    """The step of an importer's LIF; by default `v <- v + step / tau (I - v)`, and v is 0 after a spike."""

    name: str
    step: float | None  # in the importer's unit of tau; None: given to it in seconds
    exponential: bool = False  # v decays by exp(-step / tau)
    adds_input: bool = False  # v rises by I, not by a share of I
    subtracts: bool = False  # at a spike v falls by the threshold
    one_threshold: bool = False  # all neurons must have the same threshold
    misreads_loops: bool = False  # of two nodes that feed each other, the second gets the input


IMPORTERS = {  # by the ending of the file; docs/use/nir.md has the versions
    ".snntorch.nir": Importer("snnTorch", 1e-4, one_threshold=True, misreads_loops=True),
    ".sinabs.nir": Importer("Sinabs", 1.0, exponential=True, adds_input=True, subtracts=True),
    ".spyx.nir": Importer("Spyx", 1.0, adds_input=True, subtracts=True),
    ".nir": Importer("Norse, or another that takes Euler steps", None),
}


def nir_file(trained: Trained, importer: Importer) -> bytes:
    """Return a network's graph for an importer, in HDF5; raise UserError if NIR cannot express the network."""
    import nir

    membrane = _membrane(trained, importer)
    log.info("a NIR graph for %s", importer.name)
    nodes, loop = _nodes(trained, membrane, importer), ["excitatory", "inhibition", "excitatory"]
    if importer.misreads_loops:
        nodes["inhibitory"] = nir.Affine(np.eye(trained.model.n_exc, dtype=np.float32), nodes["inhibition"].bias)
        loop.insert(1, "inhibitory")
    edges = [("input", "weights"), ("weights", "excitatory"), *pairwise(loop), ("excitatory", "output")]
    encoder, labels = trained.model.inference_encoder, trained.labels
    metadata = {
        "layout": LAYOUT,
        "importer": importer.name,
        "dt": encoder.dt_ms / 1000,  # s
        "steps": encoder.n_steps,
        "max_rate_hz": encoder.max_rate_hz,
        "seed": trained.settings.seed,
        "theta": trained.saved.state_dict["theta"],
        "label": labels.label,
        "mean_count": labels.mean_count,
        "classes": json.dumps(trained.classes),
        "readout": trained.settings.evaluator.readout,
        "settings": json.dumps(trained.saved.config),
    }
    file = io.BytesIO()
    nir.write(file, nir.NIRGraph(nodes, edges, metadata=metadata))
    return file.getvalue()


def _nodes(trained: Trained, membrane: Any, importer: Importer) -> dict[str, Any]:
    """Return the nodes by name, with the numbers of the module docstring."""
    import nir

    model, arrays, dtype = trained.model, trained.saved.state_dict, np.dtype(trained.settings.dtype)
    n_exc, decay = model.n_exc, membrane.decay
    step = importer.step or model.encoder.dt_ms / 1000
    tau = -step / math.log(decay) if importer.exponential else step / (1 - decay)
    gain = 1.0 if importer.adds_input else 1 - decay
    threshold = membrane.v_threshold + arrays["theta"].astype(np.float64) - membrane.v_rest
    reset = threshold - membrane.v_reset if membrane.subtracts else membrane.v_reset - membrane.v_rest
    unit = threshold if importer.one_threshold else np.ones(n_exc)  # unit of each neuron's v
    per_current = membrane.gain / gain / unit  # [E]
    inhibition = np.empty((n_exc, n_exc), dtype)
    inhibition[:] = (-model.inference_parameters.w_ie * per_current)[:, None]
    np.fill_diagonal(inhibition, decay * reset / gain / unit)
    weight = (arrays["weight"] * per_current[:, None]).astype(dtype)

    def full(value: Any) -> np.ndarray:
        return np.full(n_exc, value, dtype)

    return {
        "input": nir.Input({"input": np.array([model.n_inputs])}),
        "weights": nir.Affine(weight, full(membrane.bias / gain / unit)),
        "excitatory": nir.LIF(tau=full(tau), r=full(1), v_leak=full(0), v_threshold=full(threshold / unit)),
        "inhibition": nir.Affine(inhibition, full(0)),  # Sinabs does not support Linear
        "output": nir.Output({"output": np.array([n_exc])}),
    }


def _membrane(trained: Trained, importer: Importer) -> Any:
    """Return the excitatory neurons' `Membrane`; log dropped features, or raise UserError if answers need them."""
    settings, model = trained.settings, trained.model
    if trained.first_layer is not None:
        raise UserError(f"checkpoint={settings.checkpoint}: two layers; a .nir cannot express that, .npz can")
    membrane = model.neuron.membrane(model.neuron_parameters)
    if membrane is None:
        more = "more than a leaky potential, a threshold and a reset; a .nir cannot express that, .npz can"
        raise UserError(f"neuron={settings.neuron.name}: {more}")
    if not _relays(model):
        allowed = "a value with which inhibitory neurons fire exactly at the spikes of their partner; or use .npz"
        raise UserError.bad_value("neuron.w_ei", model.neuron_parameters.w_ei, allowed)
    if (membrane.v_threshold + trained.saved.state_dict["theta"] <= membrane.v_rest).any():
        allowed = "must be above the resting potential for a .nir; or use .npz"
        raise UserError(f"checkpoint={settings.checkpoint}: the threshold of a neuron {allowed}")
    constants = model.neuron_parameters._asdict()
    for name in ("refractory", "inhibitory_refractory"):
        if constants.get(name):
            log.warning("neuron.%s=%d: dropped; NIR has no refractory period", name, constants[name])
    if model.neuron.arithmetic == "int":
        log.warning("neuron=%s: integers and bounds dropped; NIR has none", settings.neuron.name)
    if membrane.subtracts and not importer.subtracts:
        log.warning("neuron.v_reset=%g: the excess over the threshold is lost at a reset", membrane.v_reset)
    if importer.subtracts and not membrane.subtracts:
        log.warning("neuron.v_reset=%g: %s subtracts the threshold instead", membrane.v_reset, importer.name)
    return membrane


def _relays(model: Model) -> bool:
    """Return whether inhibitory neurons fire exactly at the spikes of their partner, refractory periods aside.

    Their potential lies between rest and its value after a spike, so these two potentials are tested.
    """
    import torch

    p, zeros = model.neuron_parameters, torch.zeros((1, 1), dtype=getattr(torch, model.weight_dtype.name))
    at_rest, ready = model.neuron.cells(p, zeros)["inhibitory_v"], zeros.int()
    fires, after, _ = model.neuron.inhibitory(p, zeros + p.w_ei, at_rest, ready)
    fires_again, _, _ = model.neuron.inhibitory(p, zeros + p.w_ei, after, ready)
    alone = [model.neuron.inhibitory(p, zeros, v, ready)[0] for v in (at_rest, after)]
    return bool(fires and fires_again and not any(alone))
