"""SPAIC's network for STDP; the constants of this project come from its neurons and its rule."""

from importlib import metadata

import numpy as np
import spaic
import torch
from base import MAX_RATE_HZ, STEPS, Peer


class Excitation(spaic.Network):
    """Inputs, excitatory and inhibitory neurons, and nearest_online_stdp on the first connection."""

    def __init__(self, n_exc: int):
        super().__init__()
        own = np.eye(n_exc)
        first = np.random.default_rng(0).uniform(0, 0.3, (n_exc, 784))
        # unit_conversion turns a pixel from 0 to 1 into a probability per millisecond.
        self.inputs = spaic.Encoder(num=784, coding_method="poisson", unit_conversion=MAX_RATE_HZ / 1000)
        self.excitatory = spaic.NeuronGroup(num=n_exc, model="lifstdp_ex")
        self.inhibitory = spaic.NeuronGroup(num=n_exc, model="lifstdp_ih")
        self.learned = spaic.Connection(self.inputs, self.excitatory, link_type="full", weight=first)
        self.partner = spaic.Connection(self.excitatory, self.inhibitory, link_type="full", weight=22.5 * own)
        self.others = spaic.Connection(self.inhibitory, self.excitatory, link_type="full", weight=120 * (own - 1))
        self.rule = spaic.Learner(trainable=self.learned, algorithm="nearest_online_STDP")
        self.set_backend("torch", "cpu")
        self.set_backend_dt(1.0)


class Network(Peer):
    """SPAIC with torch, one image at a time."""

    simulates = "lifstdp_ex, lifstdp_ih, nearest_online_stdp, 250 steps of 1 ms"

    def __init__(self, pixels: np.ndarray, n_exc: int):
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.version = metadata.version("spaic")
        self._network = Excitation(n_exc)
        self.images = (pixels.reshape(-1, 1, 784) / 255).astype(np.float32)
        self.learn_image(self.images[0])  # SPAIC builds its network when it first runs

    def learn_image(self, image: np.ndarray) -> None:
        with torch.no_grad():  # else torch stores every step for a gradient
            self._network.inputs(image)
            self._network.run(STEPS)
