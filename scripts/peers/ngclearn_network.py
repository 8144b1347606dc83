"""ngc-learn's exhibit of Diehl & Cook's network: its LIF cells, traces and STDP; an image is one scan of JAX."""

import os
from importlib import metadata

# One thread: by default XLA uses every core.
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import ngclearn  # noqa: F401, I001  first, so that an error names ngc-learn if it is missing
import jax
import numpy as np
from jax import numpy as jnp
from ngclearn import Context, MethodProcess, Summation
from ngclearn.components.input_encoders.poissonCell import PoissonCell
from ngclearn.components.neurons.spiking.LIFCell import LIFCell
from ngclearn.components.other.varTrace import VarTrace
from ngclearn.components.synapses.hebbian.traceSTDPSynapse import TraceSTDPSynapse
from ngclearn.components.synapses.staticSynapse import StaticSynapse
from ngclearn.utils.distribution_generator import DistributionGenerator as Initial
from ngclearn.utils.model_utils import normalize_matrix
from ngcsimlib.global_state import stateManager
from base import MAX_RATE_HZ, NORM, STEPS, Peer

EXCITATORY = {
    **{"tau_m": 100.0, "resist_m": 100.0, "thr": -52.0, "v_rest": -65.0, "v_reset": -60.0},
    **{"tau_theta": 1e7, "theta_plus": 0.05, "refract_time": 5.0},
}
INHIBITORY = {
    **{"tau_m": 10.0, "resist_m": 10.0, "thr": -40.0, "v_rest": -60.0, "v_reset": -45.0},
    **{"tau_theta": 0.0, "refract_time": 2.0},
}


class Network(Peer):
    """ngc-learn on one core."""

    simulates = (
        "after its exhibit of the paper: LIFCell, TraceSTDPSynapse, one normalisation an image, 250 steps of 1 ms"
    )

    def __init__(self, pixels: np.ndarray, n_exc: int):
        self.version = metadata.version("ngclearn")
        keys = iter(jax.random.split(jax.random.PRNGKey(0), 8))
        with Context("network"):
            self._inputs = PoissonCell("inputs", n_units=784, target_freq=MAX_RATE_HZ, key=next(keys))
            excitatory = LIFCell("excitatory", n_units=n_exc, key=next(keys), **EXCITATORY)
            inhibitory = LIFCell("inhibitory", n_units=n_exc, key=next(keys), **INHIBITORY)
            start = Initial.uniform(0.0, 0.3)
            self._learned = TraceSTDPSynapse(
                "learned", (784, n_exc), A_plus=1e-2, A_minus=1e-4, weight_init=start, key=next(keys)
            )
            partner = StaticSynapse("partner", (n_exc, n_exc), Initial.diag_offdiag(22.5, 0.0), key=next(keys))
            others = StaticSynapse("others", (n_exc, n_exc), Initial.diag_offdiag(0.0, -120.0), key=next(keys))
            before = VarTrace("before", n_units=784, tau_tr=20.0, a_delta=0.0, key=next(keys))
            after = VarTrace("after", n_units=n_exc, tau_tr=20.0, a_delta=0.0, key=next(keys))
            self._inputs.outputs >> self._learned.inputs
            inhibitory.s >> others.inputs
            Summation(self._learned.outputs, others.outputs) >> excitatory.j
            excitatory.s >> partner.inputs
            partner.outputs >> inhibitory.j
            self._inputs.outputs >> before.inputs
            excitatory.s >> after.inputs
            self._inputs.outputs >> self._learned.preSpike
            before.trace >> self._learned.preTrace
            excitatory.s >> self._learned.postSpike
            after.trace >> self._learned.postTrace
            self._step = MethodProcess("step")
            for component in (self._learned, others, partner, self._inputs, excitatory, inhibitory, before, after):
                self._step >> component.advance_state
            self._step >> self._learned.evolve
            self._reset = MethodProcess("reset")
            for component in (self._inputs, excitatory, inhibitory, before, after):
                self._reset >> component.reset
        self._rows = jnp.array(self._step.pack_rows(STEPS, t=lambda step: float(step), dt=1.0))
        self.images = pixels.astype(np.float32) / 255
        self.learn_image(self.images[0])  # compiles

    def learn_image(self, image: np.ndarray) -> None:
        self._reset.run()
        self._inputs.inputs.set(jnp.asarray(image[None]))
        stateManager.set_state(self._step.scan(self._rows)[0])
        weight = self._learned.weights
        weight.set(normalize_matrix(weight.get(), NORM, order=1, axis=0))
