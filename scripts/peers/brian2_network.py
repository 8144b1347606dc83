"""Networks in Brian2, compiled to C++. Brian2 has no such model, so brian2_models.toml defines them.

Weights are summed once per image, by an event that all inputs share.
"""

import tempfile
import tomllib
from pathlib import Path

import brian2 as b
import numpy as np
from base import N_INPUTS

DEFINED = tomllib.loads(Path(__file__).with_name("brian2_models.toml").read_text())
IMAGES = 200  # in one run of the compiled program
# Brian2 measures a run by wall time, which includes other programs.
START_CPU_TIME = "const std::clock_t cpu_start = std::clock();"
WRITE_CPU_TIME = 'std::ofstream("cpu_seconds") << double(std::clock() - cpu_start) / CLOCKS_PER_SEC;'
WARM_UP_RUNS = 5  # not timed: neurons fire most before they have adapted


class Network:
    """784 inputs, excitatory and inhibitory neurons, STDP, one normalisation an image."""

    def __init__(self, pixels: np.ndarray, n_exc: int, model: str, presentation: str):
        network, spec = DEFINED["models"][model], DEFINED["presentations"][presentation]
        self.version = b.__version__
        self.steps = spec["steps"]
        self.simulates = f"{network['text']}, cpp_standalone, {spec['steps']:,} steps of {spec['dt_ms']:g} ms"
        self._folder = tempfile.TemporaryDirectory(prefix="peer-brian2-")
        b.set_device("cpp_standalone", directory=self._folder.name, build_on_run=False)
        b.seed(0)
        b.defaultclock.dt = spec["dt_ms"] * b.ms
        image = spec["steps"] * spec["dt_ms"] * b.ms
        built, self._excitatory, self._learned = assemble(network, input_group(pixels, spec), n_exc, image)
        b.device.apply_run_args()
        b.device.insert_code("before_network_run", START_CPU_TIME)
        b.device.insert_code("after_network_run", WRITE_CPU_TIME)
        built.run(IMAGES * image)
        b.device.build(directory=self._folder.name, compile=True, run=False)
        self._kept: dict = {}
        for _ in range(WARM_UP_RUNS):
            self._run()

    def _run(self) -> None:
        """Run the compiled program with the weights and theta of its last run."""
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


def input_group(pixels: np.ndarray, spec: dict) -> b.NeuronGroup:
    """Return inputs that spike at the rates of their pixels, with an event at the start of each image."""
    probability = np.resize(pixels, (IMAGES, N_INPUTS)) / 255 * spec["max_rate_hz"] * spec["dt_ms"] / 1000
    slots = (probability[:, None, :] * np.array(spec["slots"])[None, :, None]).reshape(-1, N_INPUTS)
    image_ms = spec["steps"] * spec["dt_ms"]
    slot = image_ms / len(spec["slots"]) * b.ms
    inputs = b.NeuronGroup(
        N_INPUTS,
        "probability : 1\nlast : second\nbegins : 1",
        threshold="rand() < probability",
        reset="last = t",
        events={"image": "begins > 0"},
        namespace={"image_of": b.TimedArray(slots, dt=slot)},
    )
    inputs.last = -1 * b.second
    inputs.run_on_event("image", "begins = 0")
    inputs.run_regularly("probability = image_of(t, i)", dt=slot)
    inputs.run_regularly("begins = 1", dt=image_ms * b.ms)
    return inputs


def neuron_group(n: int, defined: dict, refractory: b.Quantity, image: b.Quantity) -> b.NeuronGroup:
    """Return neurons with their initial values and their operation before each image."""
    group = b.NeuronGroup(n, refractory=refractory, **defined["group"])
    for name, value in defined["start"].items():
        setattr(group, name, value)
    if defined["image"]:
        group.run_regularly(defined["image"], dt=image)
    return group


def assemble(network: dict, inputs: b.NeuronGroup, n_exc: int, image: b.Quantity) -> tuple:
    """Return the network, its excitatory neurons and the synapses that learn."""
    excitatory = neuron_group(n_exc, network["excitatory"], 5 * b.ms, image)
    inhibitory = neuron_group(n_exc, network["inhibitory"], 2 * b.ms, image)
    synapses = network["synapses"]
    learned = b.Synapses(
        inputs,
        excitatory,
        synapses["model"],
        on_pre={"spike": synapses["at_input"], "add": "total_post += w", "scale": synapses["normalised"]},
        on_post=synapses["at_output"],
        on_event={"spike": "spike", "add": "image", "scale": "image", "post": "spike"},
    )
    learned.connect()
    learned.w = synapses["weight"]
    if "delay" in synapses:
        learned.spike.delay = synapses["delay"]
    learned.add.order, learned.scale.order = -2, -1
    partner = b.Synapses(excitatory, inhibitory, on_pre=synapses["to_partner"])
    partner.connect(j="i")
    others = b.Synapses(inhibitory, excitatory, on_pre=synapses["to_others"])
    others.connect(condition="i != j")
    return b.Network(inputs, excitatory, inhibitory, learned, partner, others), excitatory, learned
