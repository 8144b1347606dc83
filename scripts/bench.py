"""Measure images per second on one core, beside the floor: draw the spikes, add one weight row per input spike.

    python scripts/bench.py                          # a table
    python scripts/bench.py --json                   # the same with machine, versions and commit
    python scripts/bench.py --rules full_online --n-exc 100 400

Every figure is the median of several runs on the same real images. Machines are noisy: compare
ratios to the floor of the same run. Constants are the published ones: 250 steps of 1 ms, 128 Hz, float32, with the
neuron group diehl_cook for float rules, after a warm-up of 1,000 images.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import time
from pathlib import Path

import numpy as np

from stdp_run import rules
from stdp_run.config import published_model
from stdp_run.datasets import MNIST
from stdp_run.encoding import SPIKES_EVALUATING
from stdp_run.engines import event, steps
from stdp_run.engines.compiled import cache_folder, specialise
from stdp_run.engines.spikes import DRAWING
from stdp_run.network import Encoder, Model, initial_state
from stdp_run.results import commit, versions

ENCODER = Encoder(n_steps=250, max_rate_hz=128.0, dt_ms=1.0)
WARM_UP = 1000


def floor_of(pixels, limits, weight, scratch):
    """Draw the spikes of each image and add one row of `weight[I, E]` for each; nothing else. Compiled below."""
    for n in range(pixels.shape[0]):
        train = scratch.train
        draw_spikes(pixels[n], limits, n, 0, 0, SPIKES_EVALUATING, train)  # noqa: F821  bound when compiled
        for t in range(train.first.shape[0] - 1):
            spikes = train.places[train.first[t] : train.first[t + 1]]
            add_rows(scratch.current, weight, train.active, spikes, spikes.shape[0])  # noqa: F821


def compile_floor():
    inner = specialise([*DRAWING, steps.add_rows], {})
    return specialise([floor_of], inner, cache_folder())["floor_of"]


def seconds(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure(rule: str, n_exc: int, pixels: np.ndarray, repeats: int, floor) -> dict:
    """Return the median images per second of learning, evaluating and the floor, measured in turn."""
    neuron = "diehl_cook_int" if rules[rule].arithmetic == "int" else "diehl_cook"
    model: Model = published_model(rule, neuron, n_exc, ENCODER)
    engine = event.EventEngine(model, initial_state(model), n_threads=1)
    scratch = steps.make_scratch(model, engine._n_columns)
    n = len(pixels)
    index, rate = np.arange(n), np.ones(n)
    warm = max(min(WARM_UP, n), 1)
    engine.learn(pixels[:warm], index[:warm], 0, rate[:warm])
    engine.count_spikes(pixels[:1], index[:1])
    floor(pixels[:1], model.encoder.thresholds, engine._weight, scratch)
    taken = {"learning": [], "evaluating": [], "floor": []}
    for epoch in range(repeats):
        taken["floor"].append(seconds(lambda: floor(pixels, model.encoder.thresholds, engine._weight, scratch)))
        taken["learning"].append(seconds(lambda epoch=epoch: engine.learn(pixels, index, epoch + 1, rate)))
        taken["evaluating"].append(seconds(lambda: engine.count_spikes(pixels, index)))
    rates = {name: n / statistics.median(values) for name, values in taken.items()}
    return {
        "rule": rule,
        "neuron": neuron,
        "n_exc": n_exc,
        "learning_images_per_second": rates["learning"],
        "evaluating_images_per_second": rates["evaluating"],
        "floor_images_per_second": rates["floor"],
        "learning_to_floor": rates["floor"] / rates["learning"],
        "evaluating_to_floor": rates["floor"] / rates["evaluating"],
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def machine() -> dict:
    """Return what the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model_names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"processor": model_names[0] if model_names else platform.processor(), "cores": os.cpu_count()}


def table(rows: list[dict]) -> str:
    head = (
        f"{'rule':<20} {'n_exc':>6} {'learning/s':>11} {'evaluating/s':>13} {'floor/s':>9} {'learn x':>8} {'eval x':>7}"
    )
    lines = [head]
    for row in rows:
        lines.append(
            f"{row['rule']:<20} {row['n_exc']:>6} {row['learning_images_per_second']:>11,.0f}"
            f" {row['evaluating_images_per_second']:>13,.0f} {row['floor_images_per_second']:>9,.0f}"
            f" {row['learning_to_floor']:>8.2f} {row['evaluating_to_floor']:>7.2f}"
        )
    return "\n".join([*lines, "learn x, eval x: time per image as a multiple of the floor's, measured in the same run"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", nargs="+", default=["nearest_online"], choices=list(rules), metavar="RULE")
    parser.add_argument("--n-exc", nargs="+", type=int, default=[100, 400, 1600, 6400], metavar="N")
    parser.add_argument("--images", type=int, default=1000, help="images per run (at 6,400 neurons a fifth of them)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON with machine, versions and commit")
    arguments = parser.parse_args()

    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pixels = MNIST(height=28, width=28, root=None).load().train.pixels.reshape(-1, 784)
    floor = compile_floor()
    rows = []
    for rule in arguments.rules:
        for n_exc in arguments.n_exc:
            n = arguments.images if n_exc < 6400 else max(arguments.images // 5, 1)
            rows.append(measure(rule, n_exc, pixels[:n], arguments.repeats, floor))
    if arguments.json:
        print(json.dumps({"machine": machine(), "versions": versions(), "commit": commit(), "rows": rows}, indent=2))
    else:
        print(table(rows))


if __name__ == "__main__":
    main()
