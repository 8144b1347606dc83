"""BindsNET's Diehl & Cook network, which learns from one image at a time."""

from importlib import metadata

import bindsnet  # noqa: F401  first, so that an error names BindsNET if it is missing
import numpy as np
import torch
from base import MAX_RATE_HZ, N_INPUTS, NORM, STEPS, Peer
from bindsnet.encoding import PoissonEncoder
from bindsnet.models import DiehlAndCook2015


class Network(Peer):
    """`DiehlAndCook2015` with excitatory and inhibitory neurons, the rule PostPre and one normalisation an image."""

    simulates = "DiehlAndCook2015, PostPre, online (batches of 1), 250 steps of 1 ms"

    def __init__(self, pixels: np.ndarray, n_exc: int):
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.version = metadata.version("bindsnet")
        self._encode = PoissonEncoder(time=STEPS, dt=1.0)
        constants = {"exc": 22.5, "inh": 120.0, "dt": 1.0, "nu": (1e-4, 1e-2), "norm": NORM, "theta_plus": 0.05}
        self._network = DiehlAndCook2015(n_inpt=N_INPUTS, n_neurons=n_exc, inpt_shape=(1, 28, 28), **constants)
        self.images = torch.from_numpy(pixels.reshape(-1, 1, 28, 28))

    def learn_image(self, image: torch.Tensor) -> None:
        spikes = self._encode(image.float() * (MAX_RATE_HZ / 255))
        self._network.run(inputs={"X": spikes.unsqueeze(1)}, time=STEPS)
        self._network.reset_state_variables()
