"""neuroSush's example of Diehl & Cook's network, compiled by torch.

On a CPU its compiled step needs batches, so one image is a batch of one.
"""

import neurosush
import numpy as np
import torch
from base import MAX_RATE_HZ, NORM, STEPS, Peer
from neurosush.core import network as of
from neurosush.core.compiled import CompiledStepper
from neurosush.neurons.axon import Axon
from neurosush.neurons.dendrite import ConductanceIntegration
from neurosush.neurons.homeostasis import AdaptiveThreshold
from neurosush.neurons.inputs import PoissonInput
from neurosush.neurons.models import LIF, Fire, Refractory
from neurosush.synapses.constraints import WeightClip
from neurosush.synapses.currents import DenseInput, OneToOneInput
from neurosush.synapses.init import WeightInit
from neurosush.synapses.plasticity import STDP
from neurosush.synapses.traces import SpikeGather, Traces


class Network(Peer):
    """neuroSush with torch on one thread."""

    simulates = "its example of the paper: conductances, pair STDP, one normalisation an image, 250 steps of 1 ms"

    def __init__(self, pixels: np.ndarray, n_exc: int):
        torch.set_num_threads(1)
        self.version = neurosush.__version__
        self._network, self._inputs, self._learned = assemble(n_exc)
        self._compiled = CompiledStepper(self._network)
        self.images = torch.from_numpy(pixels.astype(np.float32) / 255)
        self.learn_image(self.images[0])  # compiles

    def learn_image(self, image: torch.Tensor) -> None:
        weight = self._learned.weights
        weight.mul_(NORM / weight.sum(-2, keepdim=True))
        self._network.reset_state()
        self._inputs.rates.copy_(image * (MAX_RATE_HZ / 1000))
        self._compiled.run(STEPS)


def assemble(n_exc: int) -> tuple[of.Network, of.NeuronGroup, of.SynapseGroup]:
    """Return the network, its inputs and the synapses that learn."""
    network = of.Network(seed=0, dt=1.0, batch_size=1)
    inputs = of.NeuronGroup(network, 784, [PoissonInput(), Axon()])
    currents = ConductanceIntegration(e_exc=0.0, e_inh=-100.0, tau_exc=1.0, tau_inh=2.0)
    membrane = LIF(tau=100.0, threshold=-52.0, v_reset=-65.0, v_rest=-65.0)
    parts = [currents, membrane, Refractory(5.0), Fire(), AdaptiveThreshold(increment=0.05, tau=1e7), Axon()]
    excitatory = of.NeuronGroup(network, n_exc, parts)
    currents = ConductanceIntegration(e_exc=0.0, e_inh=-85.0, tau_exc=1.0, tau_inh=2.0)
    membrane = LIF(tau=10.0, threshold=-40.0, v_reset=-45.0, v_rest=-60.0)
    parts = [currents, membrane, Refractory(2.0), Fire(), Axon()]
    inhibitory = of.NeuronGroup(network, n_exc, parts, inhibitory=True)
    rule = [Traces(tau_pre=20.0), STDP(a_plus=1e-2, a_minus=1e-4), WeightClip(w_min=0.0, w_max=1.0)]
    start = WeightInit(mode="uniform", scale=0.3)
    learned = of.SynapseGroup(network, inputs, excitatory, [start, DenseInput(), SpikeGather(), *rule])
    partner = WeightInit(weights=torch.full((n_exc,), 10.4), shape=(n_exc,))
    of.SynapseGroup(network, excitatory, inhibitory, [partner, OneToOneInput(), SpikeGather()])
    others = WeightInit(weights=17.0 * (1 - torch.eye(n_exc)))
    of.SynapseGroup(network, inhibitory, excitatory, [others, DenseInput(), SpikeGather()])
    network.initialize()
    return network, inputs, learned
