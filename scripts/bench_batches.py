"""Measure images per second of the torch engine, in batches, on a CPU or a GPU.

    python scripts/bench_batches.py                # on this CPU
    python scripts/bench_batches.py --device cuda  # on a GPU, beside this CPU's event engine
    python scripts/bench_batches.py --json         # with machine, versions and commit

Every figure is the median of several runs on the same real images, by the clock. The first row of each size is the
event engine, which learns from one image at a time, with as many threads. Constants are the published ones of
nearest_online with the neuron group diehl_cook; 100 steps of 1 ms, 400 Hz, float32.
"""

import argparse
import json
import statistics
import time
from datetime import UTC, datetime

import bench
import numpy as np
import torch

from stdp_run.config.build import published_model
from stdp_run.datasets import MNIST
from stdp_run.engines.base import Engine
from stdp_run.engines.selection import EngineOptions, make_engine, set_process_options
from stdp_run.network import Encoder, initial_state
from stdp_run.training.result import commit, versions

ENCODER = Encoder(n_steps=100, max_rate_hz=400.0, dt_ms=1.0)
INFERRED = 512


def measure(engine: Engine, at_once: int, pixels: np.ndarray, repeats: int, run_seconds: float) -> dict:
    """Return images a second of learning, `at_once` images in a call or a multiple, and of inference."""

    def learn(n: int) -> None:
        engine.learn(pixels[:n], np.arange(n), 0, np.ones(n))

    def infer(n: int) -> None:
        engine.count_spikes(pixels[:n], np.arange(n))

    def images_per_second(function, n: int) -> float:
        taken = (bench.seconds(lambda: function(n), time.perf_counter) for _ in range(repeats))
        return n / statistics.median(taken)

    n_inferred = min(INFERRED, len(pixels))
    learn(at_once)  # compiles or records
    infer(n_inferred)
    calls = max(1, round(run_seconds / bench.seconds(lambda: learn(at_once), time.perf_counter)))
    n = min(calls, len(pixels) // at_once) * at_once
    return {
        "learning_images_per_second": images_per_second(learn, n),
        "evaluating_images_per_second": images_per_second(infer, n_inferred),
    }


def rows_of(n_exc: int, arguments, pixels: np.ndarray) -> list[dict]:
    """Return the rows of one size."""
    model = published_model("nearest_online", "diehl_cook", n_exc, ENCODER)
    wanted = [("event", "cpu", 1)]
    wanted += [("torch", arguments.device, batch_size) for batch_size in arguments.batch_sizes]
    rows = []
    for engine, device, batch_size in wanted:
        options = EngineOptions(engine=engine, device=device, batch_size=batch_size, threads=arguments.threads)
        made = make_engine(model, initial_state(model), options)
        row = {"n_exc": n_exc, "engine": engine, "device": device, "batch_size": batch_size}
        rows.append(row | measure(made, batch_size, pixels, arguments.repeats, arguments.seconds))
    return rows


def table(rows: list[dict]) -> str:
    """Return the rows as Markdown."""
    head = ["engine", "device", "neurons", "batch", "learning/s", "evaluating/s"]
    lines = [
        [
            *(row["engine"], row["device"], f"{row['n_exc']}", f"{row['batch_size']}"),
            f"{row['learning_images_per_second']:,.0f}",
            f"{row['evaluating_images_per_second']:,.0f}",
        ]
        for row in rows
    ]
    return bench.markdown(head, lines)


def main() -> None:
    """Measure what the command line asks for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--n-exc", nargs="+", type=bench.positive, default=[100, 400], metavar="N")
    parser.add_argument("--batch-sizes", nargs="*", type=bench.positive, default=[1, 16, 64, 256], metavar="B")
    parser.add_argument("--images", type=bench.positive, default=2048, help="most images per run")
    parser.add_argument("--seconds", type=float, default=2.0, help="fewer images where a run would take longer")
    parser.add_argument("--repeats", type=bench.positive, default=3)
    parser.add_argument("--threads", type=bench.positive, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON with machine, versions and commit")
    arguments = parser.parse_args()
    if max(arguments.batch_sizes, default=1) > arguments.images:
        parser.error(f"--images {arguments.images}: at least one batch of {max(arguments.batch_sizes)}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: no GPU that this build of torch can use")
    set_process_options(arguments.threads, tf32=False)
    pixels = MNIST().load().train.pixels.reshape(-1, 784)[: arguments.images]
    rows = [row for n_exc in arguments.n_exc for row in rows_of(n_exc, arguments, pixels)]
    if not arguments.json:
        print(table(rows))
        return
    about = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": bench.machine(list(range(arguments.threads))),
    }
    if arguments.device == "cuda":
        about["machine"]["gpu"] = torch.cuda.get_device_name()
    print(json.dumps(about | {"versions": versions(), "commit": commit(), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
