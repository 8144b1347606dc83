"""The same network in Brian2, compiled to C++: no such model comes with Brian2, so it is written here in its terms.

What is cheaper for Brian2 was chosen throughout: weights that act on the membrane at once, as in stdp-run and
BindsNET, instead of conductances; traces kept with neurons instead of with synapses, those of the inputs as the time of
their last spike; no delays; and weights summed once an image, by an event that all inputs have in common.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import brian2 as b
import numpy as np

N_INPUTS = 784
IMAGES = 200  # in one run of the compiled program
# Brian2's own account of a run is by the clock, in which other programs count.
START_CPU_TIME = "const std::clock_t cpu_start = std::clock();"
WRITE_CPU_TIME = 'std::ofstream("cpu_seconds") << double(std::clock() - cpu_start) / CLOCKS_PER_SEC;'
WARM_UP_RUNS = 5  # the neurons fire most before they have adapted: those images are not timed
NORM = 78.4

EXCITATORY = """
dv/dt = (-65.0 - v) / (100*ms) : 1 (unless refractory)
dtheta/dt = -theta / (1e7*ms) : 1
dy/dt = -y / (20*ms) : 1
total : 1
"""
INHIBITORY = "dv/dt = (-60.0 - v) / (10*ms) : 1 (unless refractory)"
LEARNED = {
    "spike": "v_post += w * int(not_refractory_post); w = clip(w - 1e-4 * y_post, 0, 1)",
    "add": "total_post += w",
    "scale": "w = clip(w * norm / total_post, 0, 1)",
}


class Presentation(NamedTuple):
    """How an image is presented: steps of `dt_ms`, in slots of `slot_ms`, each with the image (1) or at rest (0)."""

    dt_ms: float
    slot_ms: float
    slots: tuple[int, ...]
    max_rate_hz: float
    text: str

    @property
    def image_ms(self) -> float:
        return self.slot_ms * len(self.slots)

    @property
    def steps(self) -> int:
        return round(self.image_ms / self.dt_ms)


PRESENTATIONS = {
    "short": Presentation(1.0, 250.0, (1,), 128.0, "250 steps of 1 ms"),
    # Diehl & Cook's program: 350 ms, then 150 ms at rest. It presents images with few spikes again; left out here.
    "published": Presentation(
        0.5, 50.0, (1,) * 7 + (0,) * 3, 63.75, "1,000 steps of 0.5 ms: 350 ms and 150 ms at rest"
    ),
}


class Network:
    """784 inputs, excitatory and inhibitory neurons, pair STDP with nearest spikes, one normalisation an image."""

    model = "LIF neurons, pair STDP"

    def __init__(self, pixels: np.ndarray, n_exc: int, presentation: str):
        spec = PRESENTATIONS[presentation]
        self.version = b.__version__
        self.steps = spec.steps
        self.simulates = f"{self.model}, cpp_standalone, {spec.text}"
        self._folder = tempfile.TemporaryDirectory(prefix="peer-brian2-")
        b.set_device("cpp_standalone", directory=self._folder.name, build_on_run=False)
        b.seed(0)
        b.defaultclock.dt = spec.dt_ms * b.ms
        network, self._excitatory, self._learned = self.assemble(slots_of(pixels, spec), n_exc, spec)
        b.device.apply_run_args()
        b.device.insert_code("before_network_run", START_CPU_TIME)
        b.device.insert_code("after_network_run", WRITE_CPU_TIME)
        network.run(IMAGES * spec.image_ms * b.ms)
        b.device.build(directory=self._folder.name, compile=True, run=False)
        self._kept = {}
        for _ in range(WARM_UP_RUNS):
            self._run()

    def assemble(self, *arguments) -> tuple[b.Network, b.NeuronGroup, b.Synapses]:
        return assemble(*arguments)

    def _run(self) -> None:
        """Run the compiled program from what the last run of it has learned."""
        b.device.run(with_output=False, run_args=self._kept)
        views = self._learned.w, self._excitatory.theta
        self._kept = {view: np.array(view[:]) for view in views}

    def learn(self, seconds: float) -> tuple[int, float]:
        """Learn for about `seconds`; return images and the CPU seconds of the compiled program's main loop."""
        images, spent = 0, 0.0
        while not images or spent < seconds:
            self._run()
            images += IMAGES
            spent += float((Path(self._folder.name) / "cpu_seconds").read_text())
        return images, spent


def slots_of(pixels: np.ndarray, spec: Presentation) -> np.ndarray:
    """Return spikes per step of each input, for each slot of the images."""
    images = np.resize(pixels, (IMAGES, N_INPUTS)) / 255
    probability = images * spec.max_rate_hz * spec.dt_ms / 1000
    return (probability[:, None, :] * np.array(spec.slots)[None, :, None]).reshape(-1, N_INPUTS)


def input_group(slots: np.ndarray, spec: Presentation) -> b.NeuronGroup:
    """Return inputs that spike as `slots` says, and have an event at the start of each image."""
    namespace = {"image_of": b.TimedArray(slots, dt=spec.slot_ms * b.ms)}
    inputs = b.NeuronGroup(
        N_INPUTS,
        "probability : 1\nlast : second\nbegins : 1",
        threshold="rand() < probability",
        reset="last = t",
        events={"image": "begins > 0"},
        namespace=namespace,
    )
    inputs.last = -1 * b.second
    inputs.run_on_event("image", "begins = 0")
    inputs.run_regularly("probability = image_of(t, i)", dt=spec.slot_ms * b.ms)
    inputs.run_regularly("begins = 1", dt=spec.image_ms * b.ms)
    return inputs


def assemble(slots: np.ndarray, n_exc: int, spec: Presentation) -> tuple[b.Network, b.NeuronGroup, b.Synapses]:
    """Return the network, its excitatory neurons and the synapses that learn."""
    image = spec.image_ms * b.ms
    inputs = input_group(slots, spec)
    excitatory = b.NeuronGroup(
        n_exc,
        EXCITATORY,
        threshold="v > -52.0 + theta",
        reset="v = -60.0; theta += 0.05; y = 1.0",
        refractory=5 * b.ms,
        method="exact",
    )
    inhibitory = b.NeuronGroup(
        n_exc, INHIBITORY, threshold="v > -40.0", reset="v = -45.0", refractory=2 * b.ms, method="exact"
    )
    excitatory.v, inhibitory.v = -65.0, -60.0
    learned = b.Synapses(
        inputs,
        excitatory,
        "w : 1",
        on_pre=LEARNED,
        on_post="w = clip(w + 1e-2 * exp((last_pre - t) / (20*ms)), 0, 1)",
        on_event={"spike": "spike", "add": "image", "scale": "image", "post": "spike"},
        namespace={"norm": NORM},
    )
    learned.connect()
    learned.w = "0.3 * rand()"
    learned.add.order, learned.scale.order = -2, -1
    partner = b.Synapses(excitatory, inhibitory, on_pre="v_post += 22.5")
    partner.connect(j="i")
    others = b.Synapses(inhibitory, excitatory, on_pre="v_post -= 120.0")
    others.connect(condition="i != j")
    excitatory.run_regularly("v = -65.0; y = 0.0; total = 0.0", dt=image)
    inhibitory.run_regularly("v = -60.0", dt=image)
    network = b.Network(inputs, excitatory, inhibitory, learned, partner, others)
    return network, excitatory, learned
