"""Diehl & Cook's network as they published it, in Brian2's terms, compiled to C++.

Neurons with conductances, delays of 0 to 10 ms, and triplet STDP with its traces in the synapses, as in Brian2's own
example of the paper. Steps are exponential Euler's: with plain Euler's the inhibition of 400 neurons is unstable.
Images with few spikes are not presented again.
"""

import brian2 as b
import brian2_network
import numpy as np
from brian2_network import Presentation, input_group

NORM = 78.0
NEURON = """
dv/dt = (rest - v - ge * v + gi * (inhibition - v)) / tau : 1 (unless refractory)
dge/dt = -ge / (1*ms) : 1
dgi/dt = -gi / (2*ms) : 1
"""
EXCITATORY = "dtheta/dt = -theta / (1e7*ms) : 1\ntotal : 1"
SYNAPSE = """
w : 1
dx/dt = -x / (20*ms) : 1 (event-driven)
dy/dt = -y / (20*ms) : 1 (event-driven)
dz/dt = -z / (40*ms) : 1 (event-driven)
"""
LEARNED = {
    "spike": "ge_post += w; x = 1.0; w = clip(w - 1e-4 * y, 0, 1)",
    "add": "total_post += w",
    "scale": "w = w * norm / total_post",
}


class Network(brian2_network.Network):
    """The published setting: 350 ms and 150 ms at rest in steps of 0.5 ms."""

    model = "conductances, delays, triplet STDP, one normalisation an image"

    def __init__(self, pixels: np.ndarray, n_exc: int):
        super().__init__(pixels, n_exc, "published")

    def assemble(self, slots: np.ndarray, n_exc: int, spec: Presentation):
        inputs = input_group(slots, spec)
        excitatory = b.NeuronGroup(
            n_exc,
            NEURON + EXCITATORY,
            threshold="v > theta - 72.0",
            reset="v = -65.0; theta += 0.05",
            refractory=5 * b.ms,
            method="exponential_euler",
            namespace={"rest": -65.0, "inhibition": -100.0, "tau": 100 * b.ms},
        )
        inhibitory = b.NeuronGroup(
            n_exc,
            NEURON,
            threshold="v > -40.0",
            reset="v = -45.0",
            refractory=2 * b.ms,
            method="exponential_euler",
            namespace={"rest": -60.0, "inhibition": -85.0, "tau": 10 * b.ms},
        )
        excitatory.v, inhibitory.v, excitatory.theta = -105.0, -100.0, 20.0
        learned = b.Synapses(
            inputs,
            excitatory,
            SYNAPSE,
            on_pre=LEARNED,
            on_post="w = clip(w + 1e-2 * x * z, 0, 1); y = 1.0; z = 1.0",
            on_event={"spike": "spike", "add": "image", "scale": "image", "post": "spike"},
            namespace={"norm": NORM},
        )
        learned.connect()
        learned.w = "0.3 * (rand() + 0.01)"
        learned.spike.delay = "rand() * 10*ms"
        learned.add.order, learned.scale.order = -2, -1
        partner = b.Synapses(excitatory, inhibitory, on_pre="ge_post += 10.4")
        partner.connect(j="i")
        others = b.Synapses(inhibitory, excitatory, on_pre="gi_post += 17.0")
        others.connect(condition="i != j")
        excitatory.run_regularly("total = 0.0", dt=spec.image_ms * b.ms)
        return b.Network(inputs, excitatory, inhibitory, learned, partner, others), excitatory, learned
