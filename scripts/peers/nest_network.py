"""The network in NEST, with the models most similar to Diehl & Cook's.

`gif_cond_exp` has exponential conductances and a threshold that rises with each spike; its escape noise is small here.
`stdp_nn_symm_synapse` is pair STDP with the nearest spikes. Weights are not normalised: a synapse in NEST cannot read
other weights, and doing it in Python once per image would take fifteen times as long as the image.
"""

import nest
import numpy as np
from base import MAX_RATE_HZ, N_INPUTS, STEPS, Peer

EXCITATORY = {
    **{"E_L": -65.0, "V_reset": -65.0, "V_m": -65.0, "E_ex": 0.0, "E_in": -100.0, "t_ref": 5.0},
    **{"C_m": 100.0, "g_L": 1.0, "tau_syn_ex": 1.0, "tau_syn_in": 2.0, "tau_minus": 20.0},  # 100 ms; weights in g_L
    **{"V_T_star": -52.0, "tau_sfa": [1e7], "q_sfa": [0.05], "Delta_V": 0.05, "lambda_0": 1000.0},
}
INHIBITORY = {
    **{"E_L": -60.0, "V_reset": -45.0, "V_m": -60.0, "E_ex": 0.0, "E_in": -85.0, "t_ref": 2.0, "V_th": -40.0},
    **{"C_m": 10.0, "g_L": 1.0, "tau_syn_ex": 1.0, "tau_syn_in": 2.0},
}
LEARNED = {
    **{"synapse_model": "stdp_nn_symm_synapse", "tau_plus": 20.0, "lambda": 0.01, "alpha": 0.01},
    **{"mu_plus": 0.0, "mu_minus": 0.0, "Wmax": 1.0, "delay": 1.0},
}


class Network(Peer):
    """NEST's kernel on one thread, one image at a time."""

    simulates = "gif_cond_exp, iaf_cond_exp, stdp_nn_symm_synapse, without normalisation, 250 steps of 1 ms"

    def __init__(self, pixels: np.ndarray, n_exc: int):
        self.version = nest.__version__
        nest.verbosity = nest.VerbosityLevel.ERROR
        nest.resolution, nest.local_num_threads, nest.rng_seed = 1.0, 1, 1
        self._noise = nest.Create("poisson_generator", N_INPUTS)
        inputs = nest.Create("parrot_neuron", N_INPUTS)
        excitatory = nest.Create("gif_cond_exp", n_exc, EXCITATORY)
        inhibitory = nest.Create("iaf_cond_exp", n_exc, INHIBITORY)
        nest.Connect(self._noise, inputs, "one_to_one")
        nest.Connect(inputs, excitatory, "all_to_all", LEARNED | {"weight": nest.random.uniform(0.0, 0.3)})
        nest.Connect(excitatory, inhibitory, "one_to_one", {"weight": 10.4})
        nest.Connect(inhibitory, excitatory, "all_to_all", {"weight": -17.0})
        for own, partner in zip(inhibitory, excitatory, strict=True):
            nest.Disconnect(own, partner)
        self.images = pixels / 255

    def learn_image(self, image: np.ndarray) -> None:
        self._noise.set(rate=image * MAX_RATE_HZ)
        nest.Simulate(float(STEPS))
