"""Measure images per second on one core, beside the floor: sample the spikes, add one weight row per input spike.

    python scripts/bench.py --output speed.json speed.md  # a table; machine, versions and commit are in the JSON
    python scripts/bench.py --rules all --neuron lif_stdp --n-exc 400    # every rule
    python scripts/bench.py --neuron diehl_cook_2015 --rules triplet     # conductances, delays, as Diehl & Cook 2015
    python scripts/bench.py --threads 2                                  # and two cores beside one
    python scripts/bench.py --batch-sizes 16 64 256 --device cuda        # and the torch engine in batches, on a GPU
    python scripts/bench.py --peers ../peers/bin/python --n-exc 100 400  # other simulators on the same images and core

Every figure is the median of several runs on the same real images, in CPU seconds of one core. Several cores and GPUs
are measured by wall time, which needs an idle machine. Machines are noisy: compare ratios to the floor of the same run.
Each row is measured in a separate process, after learning from up to 1,000 images. Constants are the published ones:
250 steps of 1 ms, 128 Hz, float32, with the neuron group of --neuron for float rules and diehl_cook_int for integer
rules.

With diehl_cook_2015 an image is presented once, in 700 steps of 0.5 ms at 63.75 Hz, followed by 300 steps without input
while the network learns. Input spikes have delays, so its floor is: sample the spikes and add, for each spike and
neuron, one weight to the sum of the step of arrival.

Columns:
    spread            range of the learning speeds, from the slowest run to the fastest
    learn x, eval x   time per image, as a multiple of the floor
    ns                learning time per neuron and input spike
    weights           MiB of the weights
    held              MiB that the network adds to the process while it learns and answers
    peak              largest MiB of the process
    on N cores        images per second of evaluating, its share of N times one core, and the speed-up of learning

Peers run in separate environments (scripts/peers/requirements.txt). Each peer and this engine learn in turn on one
core; the factor is the median of the ratios of neighbouring runs.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from peers import compare
from tables import markdown

from stdp_run import neurons, rules
from stdp_run.config.build import build_rule, published
from stdp_run.datasets import MNIST
from stdp_run.encoding import SPIKES_EVALUATING
from stdp_run.engines.event import engine as event
from stdp_run.engines.event.delays import CHUNK as STEPS_AT_ONCE
from stdp_run.engines.event.delays import add_arrivals, make_arrivals
from stdp_run.engines.event.jit import Kernel
from stdp_run.engines.event.learning import implementation_for
from stdp_run.engines.event.sampling import make_trains, sample_spikes, train_of
from stdp_run.engines.event.vectors import add_rows, zeros_for_vectors
from stdp_run.engines.selection import EngineOptions, make_engine, set_process_options
from stdp_run.network import Encoder, Model, initial_state
from stdp_run.parameters import check_parameters, named_parameters
from stdp_run.training.result import commit, versions

ENCODER = Encoder(n_steps=250, max_rate_hz=128.0, dt_ms=1.0)
RUNNING_ON = Encoder(n_steps=700, max_rate_hz=63.75, dt_ms=0.5, rest_steps=300)  # Diehl & Cook 2015
WARM_UP, WARM_UP_SECONDS = 1000, 10.0
CHUNK = 50
NAMES = ("learning", "evaluating", "floor")


def floor_of(pixels, thresholds, weight, current, train):
    """Sample the spikes of each image and add one row of `weight[I, E]` for each; return how many. Compiled below."""
    n_spikes = 0
    for n in range(pixels.shape[0]):
        sample_spikes(pixels[n], thresholds, n, 0, 0, SPIKES_EVALUATING, train)
        for t in range(train.first.shape[0] - 1):
            add_rows(current, weight, train.active_inputs, train.ranks[train.first[t] : train.first[t + 1]], None)
        n_spikes += train.first[train.first.shape[0] - 1]
    return n_spikes


def delayed_floor_of(pixels, thresholds, weight, arrivals, train):
    """Do the same with delays: add each weight to the sum of its step of arrival. Compiled below."""
    n_spikes = 0
    n_steps = train.first.shape[0] - 1
    for n in range(pixels.shape[0]):
        active_inputs = train.active_inputs[: sample_spikes(pixels[n], thresholds, n, 0, 0, SPIKES_EVALUATING, train)]
        for s in range(train.first[n_steps]):
            train.ranks[s] = active_inputs[train.ranks[s]]  # ranks become inputs, as in the engine's kernel
        for t in range(0, n_steps, STEPS_AT_ONCE):
            add_arrivals(arrivals, weight, train, t, min(STEPS_AT_ONCE, n_steps - t))
        n_spikes += train.first[n_steps]
    return n_spikes


def memory(field: str) -> float:
    """Return the memory of this process in MiB: `VmRSS`, the present one, or `VmHWM`, the peak since its last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


class Subject(NamedTuple):
    """A rule, a neuron group and a size, on the event engine or, with a `batch_size`, on the torch engine."""

    rule: str
    neuron: str
    n_exc: int
    batch_size: int | None = None
    device: str = "cpu"


class Network:
    """An engine and its floor, with images to time both."""

    def __init__(self, subject: Subject, pixels: np.ndarray):
        encoder = RUNNING_ON if neurons[subject.neuron].runs_on else ENCODER
        rule, neuron = rules.registered[subject.rule], neurons.registered[subject.neuron]
        constants = check_parameters("neuron", neuron.parameters, published("neuron", subject.neuron))
        self.model = Model(
            n_inputs=784,
            n_exc=subject.n_exc,
            rule=rule,
            rule_parameters=build_rule(rule, published("rule", subject.rule), encoder.dt_ms, 784),
            neuron=neuron,
            neuron_parameters=named_parameters(neuron, constants, encoder.dt_ms),
            encoder=encoder,
            seed=0,
        )
        self.engine = compiled = event.EventEngine(self.model, initial_state(self.model), n_threads=1)
        if subject.batch_size:
            options = EngineOptions("torch", subject.device, subject.batch_size, threads=1)
            self.engine = make_engine(self.model, initial_state(self.model), options)
        self._batch_size = subject.batch_size or 1
        self.clock = time.perf_counter if subject.device == "cuda" else time.process_time
        self.weight = compiled._weight
        if self.model.delays is None:
            self._floor, sums = Kernel(floor_of), zeros_for_vectors(self.weight.shape[1], self.weight.dtype)
        else:
            self._floor, sums = Kernel(delayed_floor_of), make_arrivals(self.model, self.weight.shape[1])
        train = train_of(make_trains(1, encoder.n_steps, self.model.n_inputs), 0)
        self._floor_arguments = encoder.thresholds_by_repeat[0], self.weight, sums, train
        self._pixels = pixels
        self._epoch = 0

    def learning(self, n: int) -> None:
        """Learn from the first `n` images, as in one more epoch."""
        self.engine.learn(self._pixels[:n], np.arange(n), self._epoch, np.ones(n))
        self._epoch += 1

    def evaluating(self, n: int) -> None:
        self.engine.count_spikes(self._pixels[:n], np.arange(n))

    def floor(self, n: int) -> int:
        """Return the input spikes of `n` images."""
        return self._floor(self._pixels[:n], *self._floor_arguments)

    def seconds(self, name: str, n: int) -> float:
        """Return the time of one of NAMES with `n` images: CPU seconds, which exclude other programs."""
        start = self.clock()
        getattr(self, name)(n)
        return self.clock() - start

    def learn(self, seconds: float) -> tuple[int, float]:
        """Learn for `seconds` of CPU time or more, as a peer does; return images and CPU seconds."""
        images, spent = 0, 0.0
        while not images or spent < seconds:
            spent += self.seconds("learning", len(self._pixels))
            images += len(self._pixels)
        return images, spent

    def warm_up(self, run_seconds: float) -> int:
        """Learn from some images; return the number of images of a run of `run_seconds`."""
        n_images, batch_size = len(self._pixels), self._batch_size
        chunk = min(-(-CHUNK // batch_size) * batch_size, n_images)
        self.floor(1)
        self.evaluating(chunk)
        start, done = time.perf_counter(), 0
        while done < min(WARM_UP, n_images) and time.perf_counter() - start < WARM_UP_SECONDS:
            last = self.seconds("learning", chunk)
            done += chunk
        n = int(np.clip(run_seconds * chunk / max(last, self.seconds("floor", chunk)), 1, n_images))
        return max(n - n % batch_size, batch_size)


def measure(subject: Subject, pixels: np.ndarray, repeats: int, run_seconds: float, cores: list[int]) -> dict:
    """Return the row of a subject, measured in this process."""
    os.sched_setaffinity(0, cores[:1])
    if subject.batch_size:
        set_process_options(1, tf32=False)
    Network(subject._replace(n_exc=8), pixels[: subject.batch_size or 1]).warm_up(0)  # compiles before the measurement
    before = memory("VmRSS")
    network = Network(subject, pixels)
    peak = memory("VmHWM")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    n = network.warm_up(run_seconds)
    held = memory("VmHWM")  # before the long runs, whose spike counts belong to the caller
    taken: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(repeats):
        for name in reversed(NAMES):
            taken[name].append(network.seconds(name, n))
    row = {**subject._asdict(), "images": n, **speeds(taken, n, network.floor(n) / n, subject.n_exc)}
    row |= {"weights_mib": network.weight.nbytes / 2**20, "held_memory_mib": held - before}
    row["peak_memory_mib"] = max(peak, memory("VmHWM"))
    if len(cores) > 1 and not subject.batch_size:
        row["threads"] = scaling(network, n, repeats, cores)
    return row


def speeds(taken: dict[str, list[float]], n: int, spikes_per_image: float, n_exc: int) -> dict:
    """Return images per second, spread and multiples of the floor, from the seconds that `n` images took."""
    rates = {name: n / statistics.median(values) for name, values in taken.items()}
    row = {f"{name}_images_per_second": rate for name, rate in rates.items()}
    for name, values in taken.items():
        row[f"{name}_runs"] = [n / value for value in values]
        row[f"{name}_spread"] = (n / min(values) - n / max(values)) / rates[name]
    return row | {
        "learning_to_floor": rates["floor"] / rates["learning"],
        "evaluating_to_floor": rates["floor"] / rates["evaluating"],
        "input_spikes_per_image": spikes_per_image,
        "learning_ns_per_neuron_and_spike": 1e9 / rates["learning"] / n_exc / spikes_per_image,
    }


def scaling(network: Network, n: int, repeats: int, cores: list[int]) -> dict:
    """Return the speed of evaluation and learning on one core and on all `cores`, in turn, by wall time.

    "of_linear" is the speed-up of evaluation divided by the number of cores. "learning_factor" is the speed-up of
    learning, in which a second core samples spikes.
    """
    one = network.engine
    # Threads take whole tasks of images, so each thread gets the same number of tasks.
    share = one._images_per_task * len(cores)
    n = min(-(-n // share) * share, len(network._pixels))
    os.sched_setaffinity(0, cores)  # threads inherit it
    network.engine = several = event.EventEngine(network.model, one.state(), n_threads=len(cores))
    network.clock = time.perf_counter
    network.learning(n)  # compiles
    rows = []
    for _ in range(repeats):
        taken = []
        for used, network.engine in ((1, one), (len(cores), several)):
            os.sched_setaffinity(0, cores[:used])
            taken += [network.seconds("evaluating", n), network.seconds("learning", n)]
        rows.append((n / taken[0], n / taken[2], taken[1] / taken[3]))
    on_one, on_all, factor = map(statistics.median, zip(*rows, strict=True))
    row = {"n": len(cores), "images": n, "one_images_per_second": on_one, "all_images_per_second": on_all}
    return row | {"of_linear": on_all / on_one / len(cores), "learning_factor": factor}


def measure_apart(*arguments) -> dict:
    """Run `measure` in a new process, so that the memory of one row is measured."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def compare_peers(arguments, pixels: np.ndarray) -> list[dict]:
    """Return one row for each peer and size."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="stdp-run-peers-") as folder:
        file = Path(folder) / "pixels.npy"
        np.save(file, pixels)
        for n_exc in arguments.n_exc:
            ours = Network(Subject("nearest_online", "diehl_cook", n_exc), pixels)
            ours.warm_up(0)
            for name in arguments.peer_names:
                peer = compare.start(name, arguments.peers, file, n_exc)
                rows.append(compare.alternate(peer, ours, arguments.repeats, arguments.seconds))
    return rows


def machine(cores: list[int]) -> dict:
    """Return a description of this machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    about = {"processor": names[0] if names else "unknown", "cores": os.cpu_count(), "cores_used": len(cores)}
    return about | {"load_at_start": os.getloadavg()[0]}  # of other programs


def table(rows: list[dict]) -> str:
    """Return the table of the speed of this program."""
    lines = []
    for row in rows:
        line = {"rule": row["rule"], "group": row["neuron"], "neurons": f"{row['n_exc']}", "images": f"{row['images']}"}
        if any(each["batch_size"] for each in rows):
            line["batch"] = f"{row['batch_size']} {row['device']}" if row["batch_size"] else ""
        line |= {
            "learning/s": f"{row['learning_images_per_second']:,.0f}",
            "spread": f"{row['learning_spread']:.0%}",
            "evaluating/s": f"{row['evaluating_images_per_second']:,.0f}",
            "floor/s": f"{row['floor_images_per_second']:,.0f}",
            "learn x": f"{row['learning_to_floor']:.2f}",
            "eval x": f"{row['evaluating_to_floor']:.2f}",
            "ns": f"{row['learning_ns_per_neuron_and_spike']:.3f}",
            "weights": f"{row['weights_mib']:.1f}",
            "held": f"{row['held_memory_mib']:.1f}",
            "peak": f"{row['peak_memory_mib']:.0f}",
        }
        if "threads" in rows[0]:
            line |= {f"evaluating/s on {rows[0]['threads']['n']} cores": "", "of linear": "", "learning": ""}
        if threads := row.get("threads"):
            line[f"evaluating/s on {threads['n']} cores"] = f"{threads['all_images_per_second']:,.0f}"
            line |= {"of linear": f"{threads['of_linear']:.0%}", "learning": f"x {threads['learning_factor']:.2f}"}
        lines.append(line)
    return markdown(lines)


def chosen_pairs(names: list[str], neuron: str) -> list[tuple[str, str]]:
    """Return the pairs of rule and neuron group to measure; "all" means all rules with a compiled implementation."""
    chosen = rules if "all" in names else names
    pairs = [(name, "diehl_cook_int" if rules[name].arithmetic == "int" else neuron) for name in chosen]
    compiled = [pair for pair in pairs if implementation_for(rules[pair[0]], neurons[pair[1]])]
    for rule, group in pairs:
        if "all" not in names and (rule, group) not in compiled:
            raise SystemExit(f"--rules {rule}: the event engine cannot run it with --neuron {group}")
    return compiled


def positive(text: str) -> int:
    """Return a whole number of at least 1 from the text of an option."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = parser.add_argument
    option("--rules", nargs="+", default=["nearest_online"], choices=[*rules, "all"], metavar="RULE")
    groups = [name for name in neurons if neurons[name].arithmetic == "float"]
    option("--neuron", default="diehl_cook", choices=groups, help="neuron group of float rules; default: diehl_cook")
    option("--n-exc", nargs="+", type=positive, default=[100, 400, 1600, 6400], metavar="N")
    option("--images", type=positive, default=1000, help="largest number of images per run")
    option("--seconds", type=float, default=1.0, help="longest time of a run; CPU time of peers")
    option("--repeats", type=positive, default=5)
    option("--threads", type=positive, default=1, metavar="N", help="measure also on N cores")
    option("--batch-sizes", nargs="+", type=positive, default=[], metavar="B", help="batch sizes of the torch engine")
    option("--device", choices=("cpu", "cuda"), default="cpu", help="device of the torch engine")
    option(
        "--peers",
        nargs="+",
        type=Path,
        default=[],
        metavar="PYTHON",
        help="measure peers in these environments instead",
    )
    option("--peer-names", nargs="+", default=list(compare.NAMES), choices=compare.NAMES, metavar="PEER")
    option("--output", nargs="+", type=Path, default=[], metavar="FILE", help=".json: all figures, else tables")
    arguments = parser.parse_args()
    if arguments.threads > (allowed := len(os.sched_getaffinity(0))):
        parser.error(f"--threads {arguments.threads}: between 1 and {allowed}, the cores that may be used here")
    if max(arguments.batch_sizes, default=1) > arguments.images:
        parser.error(f"--images {arguments.images}: at least one batch of {max(arguments.batch_sizes)}")
    for python in arguments.peers:
        if not shutil.which(python):
            parser.error(f"--peers {python}: no program")
    return arguments


def main() -> None:
    """Measure, print and write the requested figures."""
    arguments = parse()
    cores = sorted(os.sched_getaffinity(0))[: arguments.threads]
    pairs = [] if arguments.peers else chosen_pairs(arguments.rules, arguments.neuron)
    document = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(cores)}
    document |= {"versions": versions(), "commit": commit(), "rows": [], "peers": []}
    pixels = MNIST().load().train.pixels.reshape(-1, 784)[: arguments.images]
    for (rule, neuron), n_exc, batch_size in itertools.product(pairs, arguments.n_exc, (None, *arguments.batch_sizes)):
        subject = Subject(rule, neuron, n_exc, batch_size, arguments.device if batch_size else "cpu")
        os.sched_setaffinity(0, cores)  # a new process inherits these cores
        document["rows"].append(measure_apart(subject, pixels, arguments.repeats, arguments.seconds, cores))
    os.sched_setaffinity(0, cores[:1])
    if arguments.peers:
        document["peers"] = compare_peers(arguments, pixels)
    text = compare.table(document["peers"]) if arguments.peers else table(document["rows"])
    for file in arguments.output:
        file.write_text((json.dumps(document, indent=2) if file.suffix == ".json" else text) + "\n")
    print(text)


if __name__ == "__main__":
    main()
