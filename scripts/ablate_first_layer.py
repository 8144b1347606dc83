"""What each part of a first layer gives: the second layer's accuracy behind others, on the validation split.

    python scripts/ablate_first_layer.py                       # every variant, seeds 0 and 1
    python scripts/ablate_first_layer.py --variants base "64 neurons" --seeds 0 -- n_train=50000

The second layer is that of experiment=two_layers_400, learned and labelled by the first 20,000 training images, and
measured on the last 10,000; the norm of its weights is that of the preset, or what was best for so many inputs.
Variants without spikes answer each place once, with the filter that is nearest by the cosine.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from hydra import compose, initialize_config_dir

from stdp_run.commands.first_layer import behind
from stdp_run.config.build import build_model, conf_folder
from stdp_run.config.schema import Settings, read_settings
from stdp_run.datasets.selection import load_images
from stdp_run.engines.selection import EngineOptions, make_engine
from stdp_run.inference.first_layer import FirstLayer
from stdp_run.inference.load import learned_in
from stdp_run.network import NetworkState, initial_state
from stdp_run.training.result import judged
from stdp_run.training.run import Start, TrainingRun
from stdp_run.training.run_directory import RunDirectory
from stdp_run.training.signals import Interruption
from stdp_run.training.tracking import Bars

PRESET = ("experiment=two_layers_400", "dataset.split=validation", "n_train=20000", "rule.w_norm=46")
SPIKES = {  # a first layer of spiking neurons, by the settings that differ
    "no first layer": ("experiment=mnist_400", "rule.w_norm=90.5"),
    "base": (),
    "blocks 3 apart": ("first_layer.block=3",),
    "blocks 6 apart": ("first_layer.block=6", "rule.w_norm=23"),
    "patches of 4 x 4": ("first_layer.dataset.height=4", "first_layer.dataset.width=4"),
    "patches of 7 x 7": ("first_layer.dataset.height=7", "first_layer.dataset.width=7"),
    "16 neurons": ("first_layer.n_exc=16",),
    "64 neurons": ("first_layer.n_exc=64",),
    "full_online": ("rule@first_layer.rule=full_online",),
}
COSINE = {"STDP filters, cosine": "stdp", "k-means filters, cosine": "kmeans", "random patches, cosine": "random"}
FILTERS = 32


class Cosine:
    """In place of an engine: each patch is answered once, by the filter [E, h * w] of the largest cosine."""

    name = "cosine"
    model = SimpleNamespace(neuron=FirstLayer)  # whose code is a part of the key in the cache

    def __init__(self, filters: np.ndarray):
        self._filters = (filters / np.linalg.norm(filters, axis=1, keepdims=True)).astype(np.float32)

    def count_spikes(self, patches: np.ndarray, _: np.ndarray) -> np.ndarray:
        nearest = (patches.astype(np.float32) @ self._filters.T).argmax(axis=1)
        return (nearest[:, None] == np.arange(len(self._filters))).astype(np.int32)


def filters_of(kind: str, base: Path, settings: Settings) -> np.ndarray:
    """Return the filters [E, h * w] of a variant without spikes."""
    if kind == "stdp":
        return learned_in(str(base), None).state.weight
    patches = load_images(settings.first_layer.network).train_pixels.astype(np.float32)
    rng = np.random.default_rng(settings.seed)
    filters = patches[rng.choice(len(patches), FILTERS, replace=False)]
    for _ in range(20 if kind == "kmeans" else 0):  # spherical k-means
        nearest = Cosine(filters).count_spikes(patches, patches)
        lengths = np.linalg.norm(patches, axis=1, keepdims=True)
        filters = nearest.T.astype(np.float32) @ (patches / lengths) + 1e-9
    return filters


def changed(preset: list[str], *changes: str) -> list[str]:
    """Return overrides with others in place of those of the same key."""
    keys = {word.partition("=")[0] for word in changes}
    return [*(word for word in preset if word.partition("=")[0] not in keys), *changes]


def with_spikes(preset: list[str], directory: Path) -> float:
    """Return the accuracy of a command."""
    words = [*preset, f"hydra.run.dir={directory}"]
    subprocess.run([sys.executable, "-m", "stdp_run", *words], check=True, stdout=subprocess.DEVNULL)
    return judged(RunDirectory(directory).result())


def without_spikes(kind: str, preset: list[str], directory: Path, base: Path) -> float:
    """Return the accuracy behind filters that are compared by the cosine; `base` has those that STDP has learned."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        settings = read_settings(compose("config", overrides=[*preset, "engine=event", "device=cpu"]))
    filters = filters_of(kind, base, settings)
    state = NetworkState(filters, np.zeros(len(filters)))
    layer = FirstLayer(settings.first_layer, settings.dataset, state, Cosine(filters))
    data, model = behind(layer, load_images(settings), lambda n: None), build_model(settings)
    directory.mkdir()
    with Interruption(directory) as interruption:
        start = Start(settings, RunDirectory(directory), None)
        run = TrainingRun(start, data, interruption, Bars(False), time.perf_counter())
        result = run.complete(make_engine(model, initial_state(model), EngineOptions("event")))
    return judged(result)


def main() -> None:
    """Measure what the command line asks for, and print a table."""
    names = [*SPIKES, *COSINE]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=names, choices=names, metavar="NAME", help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1], metavar="N")
    parser.add_argument("extra", nargs="*", metavar="KEY=VALUE", help="overrides, after --")
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in arguments.seeds:
            base, preset = Path(folder) / f"base_{seed}", changed([*PRESET, f"seed={seed}"], *arguments.extra)
            accuracies = {"base": with_spikes(preset, base)}
            for name in arguments.variants:
                directory = Path(folder) / f"{names.index(name)}_{seed}"
                if name in COSINE:
                    accuracies[name] = without_spikes(COSINE[name], preset, directory, base)
                elif name != "base":
                    accuracies[name] = with_spikes(changed(preset, *SPIKES[name]), directory)
                found.setdefault(name, []).append(accuracies[name])
                print(f"{name}, seed {seed}: {accuracies[name]:.2%}", flush=True)
    print("| first layer | mean | each |\n|---|---|---|")
    for name, values in found.items():
        each = ", ".join(f"{100 * value:.2f}" for value in values)
        print(f"| {name} | {100 * statistics.mean(values):.2f} | {each} |")


if __name__ == "__main__":
    main()
