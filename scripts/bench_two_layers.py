"""Measure two layers: the whole of a preset, by the clock, and the answers of its first layer beside their floor.

    python scripts/bench_two_layers.py                         # experiment=two_layers_400 on all cores, three times
    python scripts/bench_two_layers.py --repeats 1 --preset two_layers_100 -- n_train=5000

The whole is one command in a process of its own, from its start to its end, with no answers in the cache; compiled code
and data are there, as after a first run. Peak memory is what that process had at most. The answers are those of 1,000
training images on one core, in CPU seconds: patches that are presented (those that are left out are not counted) a
second, and as a multiple of the floor, which samples the spikes of the same patches and does nothing else.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import stdp_run
from stdp_run.datasets import MNIST
from stdp_run.encoding import SPIKES_EVALUATING
from stdp_run.engines.event.jit import Kernel
from stdp_run.engines.event.sampling import make_trains, sample_spikes, train_of
from stdp_run.files import cache_folder

IMAGES = 1000


def sample_all(patches, thresholds, places, train):
    """Sample the spikes of each patch, keyed by its place. Compiled below."""
    for n in range(patches.shape[0]):
        sample_spikes(patches[n], thresholds, places[n], 0, 0, SPIKES_EVALUATING, train)


def whole(words: list[str], directory: Path) -> tuple[float, float]:
    """Return the seconds that a command takes from its start to its end, and the MiB that the largest one yet had."""
    with tempfile.TemporaryDirectory() as cache:
        (Path(cache) / "stdp_run").mkdir()
        for kept in ("compiled", "mnist"):
            (Path(cache) / "stdp_run" / kept).symlink_to(cache_folder(kept), target_is_directory=True)
        command = [sys.executable, "-m", "stdp_run", *words, f"hydra.run.dir={directory}"]
        start = time.perf_counter()
        subprocess.run(command, check=True, env={**os.environ, "XDG_CACHE_HOME": cache})
        seconds = time.perf_counter() - start
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def answers(run: Path, repeats: int) -> tuple[float, float]:
    """Return the patches a second that the first layer of a run answers, and those whose spikes are sampled."""
    layer = stdp_run.load(run, threads=1).first_layer
    engine, presented = layer._engine, []
    count = engine.count_spikes

    def noted(patches: np.ndarray, places: np.ndarray) -> np.ndarray:
        presented.append((patches, places))
        return count(patches, places)

    engine.count_spikes = noted
    pixels = MNIST().load().train.pixels[:IMAGES].reshape(IMAGES, -1)
    layer.counts(pixels)
    engine.count_spikes = count
    patches, places = (np.concatenate(each) for each in zip(*presented, strict=True))
    encoder = engine.model.inference_encoder
    train = train_of(make_trains(1, encoder.n_steps, patches.shape[1]), 0)
    sampler, thresholds = Kernel(sample_all), encoder.thresholds_by_repeat[0]
    sampler(encoder.prepare(patches[:1]), thresholds, places, train)
    taken: dict[str, list[float]] = {"answers": [], "floor": []}
    for _ in range(repeats):
        for name, work in (
            ("answers", lambda: layer.counts(pixels)),
            ("floor", lambda: sampler(encoder.prepare(patches), thresholds, places, train)),
        ):
            start = time.process_time()
            work()
            taken[name].append(time.process_time() - start)
    answered, sampled = (len(patches) / statistics.median(seconds) for seconds in taken.values())
    return answered, sampled


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="two_layers_400")
    parser.add_argument("extra", nargs="*", metavar="KEY=VALUE", help="overrides, after --")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    words = [f"experiment={arguments.preset}", *arguments.extra]
    with tempfile.TemporaryDirectory() as folder:
        measured = [whole(words, Path(folder) / str(number)) for number in range(arguments.repeats)]
        answered, sampled = answers(Path(folder) / "0", arguments.repeats)
    seconds = sorted(each for each, _ in measured)
    print(f"\nload of the machine at the end: {os.getloadavg()[0]:.1f}; cores: {len(os.sched_getaffinity(0))}")
    print(f"{' '.join(words)}: {statistics.median(seconds):.1f} s ({seconds[0]:.1f} to {seconds[-1]:.1f}), ", end="")
    print(f"at most {measured[-1][1]:,.0f} MiB")
    print(f"first layer: {answered:,.0f} patches/s on one core, {sampled / answered:.2f} times the floor's time")


if __name__ == "__main__":
    main()
