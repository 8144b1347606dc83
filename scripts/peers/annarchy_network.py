"""The network in ANNarchy, compiled to C++; equations define its neurons and synapses."""

import os
import sys
import tempfile
from importlib import metadata

import ANNarchy as ann
import numpy as np
from base import MAX_RATE_HZ, N_INPUTS, NORM, STEPS, Peer


def neuron(tau: float, rest: float, reset: float, inhibition: float, refractory: float, threshold: str) -> ann.Neuron:
    """Return one of Diehl & Cook's neurons: milliseconds, millivolts, and conductances as multiples of the leak."""
    return ann.Neuron(
        parameters={"tau": tau, "rest": rest, "after": reset, "inhibition": inhibition, "tau_theta": 1e7, "rise": 0.05},
        equations=[
            ann.Variable(
                "tau * dv/dt = rest - v - g_exc * v + g_inh * (inhibition - v)", method="exponential", init=rest
            ),
            ann.Variable("1.0 * dg_exc/dt = -g_exc", method="exponential"),
            ann.Variable("2.0 * dg_inh/dt = -g_inh", method="exponential"),
            ann.Variable("tau_theta * dtheta/dt = -theta", method="exponential"),
        ],
        spike=f"v > {threshold}",
        reset="v = after; theta += rise",
        refractory=refractory,
    )


LEARNED = ann.Synapse(
    parameters={"tau": 20.0, "a_pre": 1e-4, "a_post": 1e-2},
    equations=[ann.Variable(f"tau * d{trace}/dt = -{trace}", method="event-driven") for trace in "xy"],
    pre_spike="g_target += w; x = 1.0; w = clip(w - a_pre * y, 0.0, 1.0)",
    post_spike="y = 1.0; w = clip(w + a_post * x, 0.0, 1.0)",
)


class Network(Peer):
    """ANNarchy on one thread, one image at a time."""

    simulates = "conductances, pair STDP, one normalisation an image (in Python), 250 steps of 1 ms"

    def __init__(self, pixels: np.ndarray, n_exc: int):
        self.version = metadata.version("ANNarchy")
        os.environ["VIRTUAL_ENV"] = sys.prefix  # CMake looks for the Python of an activated environment
        self._folder = tempfile.TemporaryDirectory(prefix="peer-annarchy-")
        self._network = net = ann.Network(dt=1.0, seed=1)
        net.config(num_threads=1, dtype=ann.float32)
        self._inputs = net.create(ann.PoissonPopulation(N_INPUTS, rates=0.0))
        excitatory = net.create(n_exc, neuron(100.0, -65.0, -65.0, -100.0, 5.0, "-52.0 + theta"))
        inhibitory = net.create(n_exc, neuron(10.0, -60.0, -45.0, -85.0, 2.0, "-40.0"))
        self._learned = net.connect(self._inputs, excitatory, "exc", LEARNED)
        self._learned.all_to_all(weights=ann.Uniform(0.0, 0.3))
        net.connect(excitatory, inhibitory, "exc").one_to_one(weights=10.4)
        others = net.connect(inhibitory, excitatory, "inh")
        others.from_matrix(np.where(np.eye(n_exc) > 0, None, 17.0))
        net.compile(directory=self._folder.name, silent=True)
        self.images = pixels / 255

    def learn_image(self, image: np.ndarray) -> None:
        weight = np.array(self._learned.w)
        self._learned.w = weight * (NORM / weight.sum(axis=1, keepdims=True))
        self._inputs.rates = image * MAX_RATE_HZ
        self._network.simulate(float(STEPS))
