"""BindsNET's own Diehl & Cook network, learning one image at a time."""

import itertools
from importlib import metadata

import bindsnet  # noqa: F401  first, so that a missing BindsNET is named before anything of its own
import numpy as np
import torch
from bindsnet.encoding import PoissonEncoder
from bindsnet.models import DiehlAndCook2015
from timing import learn_for

STEPS = 250
MAX_RATE_HZ = 128.0


class Network:
    """`DiehlAndCook2015` with excitatory and inhibitory neurons, the rule PostPre and one normalisation an image."""

    simulates = "DiehlAndCook2015, PostPre, online (batches of 1), 250 steps of 1 ms"
    steps = STEPS

    def __init__(self, pixels: np.ndarray, n_exc: int):
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.version = metadata.version("bindsnet")
        self._encode = PoissonEncoder(time=STEPS, dt=1.0)
        self._network = DiehlAndCook2015(
            n_inpt=784,
            n_neurons=n_exc,
            exc=22.5,
            inh=120.0,
            dt=1.0,
            nu=(1e-4, 1e-2),
            norm=78.4,
            theta_plus=0.05,
            inpt_shape=(1, 28, 28),
        )
        self._images = itertools.cycle(torch.from_numpy(pixels.reshape(-1, 1, 28, 28)))

    def learn(self, seconds: float) -> tuple[int, float]:
        """Learn for about `seconds`; return images and CPU seconds. Sampling the spikes counts, as it does for us."""
        return learn_for(seconds, self._images, self._learn)

    def _learn(self, image: torch.Tensor) -> None:
        spikes = self._encode(image.float() * (MAX_RATE_HZ / 255))
        self._network.run(inputs={"X": spikes.unsqueeze(1)}, time=STEPS)
        self._network.reset_state_variables()
