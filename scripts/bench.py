"""Measure images per second on one core, beside the floor: sample the spikes, add one weight row per input spike.

    python scripts/bench.py                               # a table
    python scripts/bench.py --json                        # the same with machine, versions and commit
    python scripts/bench.py --output speed.json speed.md  # both, in files
    python scripts/bench.py --rules full_online --n-exc 100 400 25600
    python scripts/bench.py --neuron lif_stdp --rules all --n-exc 400    # every rule
    python scripts/bench.py --neuron diehl_cook_2015 --rules triplet     # conductances, delays, as Diehl & Cook 2015
    python scripts/bench.py --threads 2                   # and two cores beside one
    python scripts/bench.py --n-exc --peers ../peers/bin/python   # other simulators on the same images and core

Every figure is the median of several runs on the same real images, in CPU seconds of one core; one and several cores
are compared by the clock, which needs a machine with nothing else to do. "spread" is that of learning, from the slowest
run to the fastest. Machines are noisy: compare ratios to the floor of the same run. Each row is measured in
a process of its own, after a warm-up by learning from up to 1,000 images. Constants are the published ones: 250 steps
of 1 ms, 128 Hz, float32, with the neuron group of --neuron for float rules and diehl_cook_int for integer ones.

With diehl_cook_2015 an image is presented as in the paper: 700 steps of 0.5 ms with 63.75 Hz and, while the network
learns, 300 without input; once, however few spikes it evokes. As input spikes are delayed, each arrives at every neuron
in a step of its own, and the floor is another one: sample the spikes, and add, for each spike and neuron, one weight to
the sum of the step in which it arrives.

Columns: learn x and eval x are the time per image as a multiple of the floor's; ns is the time of learning per neuron
and input spike, constant where cost is linear in both; weights, held and peak are MiB of memory: the weights alone,
what the network adds to the process while it learns and answers, and the most that the process ever had, building
included. On several cores: images per second of evaluating, that as a share of so many times one core, and by what
factor learning is faster.

Peers (BindsNET, SPAIC, Brian2, ANNarchy, NEST, neuroSush, ngc-learn) run in an environment of their own, see
scripts/peers/requirements.txt. They and this engine learn in turn on one core; the factor is the median of the ratios
of neighbouring runs.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from peers import compare

from stdp_run import neurons, rules
from stdp_run.config.build import published_model
from stdp_run.datasets import MNIST
from stdp_run.encoding import SPIKES_EVALUATING
from stdp_run.engines.event import engine as event
from stdp_run.engines.event.delays import CHUNK as STEPS_AT_ONCE
from stdp_run.engines.event.delays import add_arrivals, make_arrivals
from stdp_run.engines.event.jit import Kernel
from stdp_run.engines.event.learning import implementation_for
from stdp_run.engines.event.sampling import make_trains, sample_spikes, train_of
from stdp_run.engines.event.vectors import add_rows, zeros_for_vectors
from stdp_run.network import Encoder, Model, initial_state
from stdp_run.training.result import commit, versions

ENCODER = Encoder(n_steps=250, max_rate_hz=128.0, dt_ms=1.0)
RUNNING_ON = Encoder(n_steps=700, max_rate_hz=63.75, dt_ms=0.5, rest_steps=300)  # Diehl & Cook 2015
WARM_UP = 1000
WARM_UP_SECONDS = 10.0
CHUNK = 50


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
    """Do the same where a spike arrives at each neuron after a delay: add to the sums of steps. Compiled below."""
    n_spikes = 0
    n_steps = train.first.shape[0] - 1
    for n in range(pixels.shape[0]):
        active_inputs = train.active_inputs[: sample_spikes(pixels[n], thresholds, n, 0, 0, SPIKES_EVALUATING, train)]
        for s in range(train.first[n_steps]):
            train.ranks[s] = active_inputs[train.ranks[s]]  # ranks become inputs, as the engine's kernel has them
        for t in range(0, n_steps, STEPS_AT_ONCE):
            add_arrivals(arrivals, weight, train, t, min(STEPS_AT_ONCE, n_steps - t))
        n_spikes += train.first[n_steps]
    return n_spikes


def seconds(function, clock=time.process_time) -> float:
    """Return how long `function` took: in CPU seconds, because other programs should count for nobody."""
    start = clock()
    function()
    return clock() - start


class Memory:
    """The memory of this process in MiB, from the kernel's own account."""

    @staticmethod
    def read(field: str) -> float:
        """Return `VmRSS`, what is held now, or `VmHWM`, the most since the start or since `forget_peak`."""
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))

    @staticmethod
    def forget_peak() -> None:
        Path("/proc/self/clear_refs").write_text("5")


def neuron_of(rule: str, neuron: str) -> str:
    """Return the neuron group that a rule is measured with, where `neuron` is the one for float rules."""
    return "diehl_cook_int" if rules[rule].arithmetic == "int" else neuron


class Network:
    """One rule and size: an engine, its floor, and the images that both are timed with."""

    def __init__(self, rule: str, neuron: str, n_exc: int, pixels: np.ndarray):
        encoder = RUNNING_ON if neurons[neuron].runs_on else ENCODER
        self.model: Model = published_model(rule, neuron, n_exc, encoder)
        self.engine = event.EventEngine(self.model, initial_state(self.model), n_threads=1)
        weight = self.engine._weight
        if self.model.delays is None:
            self._floor = Kernel(floor_of)
            added_up = weight, zeros_for_vectors(weight.shape[1], weight.dtype)
        else:
            self._floor = Kernel(delayed_floor_of)
            added_up = weight, make_arrivals(self.model, weight.shape[1])
        train = train_of(make_trains(1, encoder.n_steps, self.model.n_inputs), 0)
        self._floor_arguments = encoder.thresholds_by_repeat[0], *added_up, train
        self._pixels = pixels
        self._epoch = 0

    def learn(self, n: int, engine=None) -> None:
        """Learn from the first `n` images, as in one more epoch."""
        (engine or self.engine).learn(self._pixels[:n], np.arange(n), self._epoch, np.ones(n))
        self._epoch += 1

    def evaluate(self, n: int, engine=None) -> None:
        (engine or self.engine).count_spikes(self._pixels[:n], np.arange(n))

    def floor(self, n: int) -> int:
        """Return the input spikes of `n` images."""
        return self._floor(self._pixels[:n], *self._floor_arguments)

    def warm_up(self) -> float:
        """Learn from the images once, in part if that takes long; return the images per second at the end."""
        chunk = min(CHUNK, len(self._pixels))
        self.floor(1)
        self.evaluate(chunk)
        start, done = time.perf_counter(), 0
        while done < min(WARM_UP, len(self._pixels)) and time.perf_counter() - start < WARM_UP_SECONDS:
            last = seconds(lambda: self.learn(chunk))
            done += chunk
        return chunk / max(last, seconds(lambda: self.floor(chunk)))


def measure(what: tuple[str, str, int], pixels: np.ndarray, repeats: int, run_seconds: float, cores: list[int]) -> dict:
    """Return one row: what was measured with one rule, neuron group and size, in this process."""
    rule, neuron, n_exc = what
    os.sched_setaffinity(0, cores[:1])
    Network(rule, neuron, 8, pixels[:1]).warm_up()  # compiles, or reads what was compiled: not this network's memory
    before = Memory.read("VmRSS")
    network = Network(rule, neuron, n_exc, pixels)
    peak = Memory.read("VmHWM")
    Memory.forget_peak()
    n = int(np.clip(network.warm_up() * run_seconds, 1, len(pixels)))
    held = Memory.read("VmHWM")  # now: the spike counts of long runs are the caller's, not the network's
    taken = {"learning": [], "evaluating": [], "floor": []}
    for _ in range(repeats):
        taken["floor"].append(seconds(lambda: network.floor(n)))
        taken["learning"].append(seconds(lambda: network.learn(n)))
        taken["evaluating"].append(seconds(lambda: network.evaluate(n)))
    row = {"rule": rule, "neuron": neuron, "n_exc": n_exc, "images": n}
    row |= speeds(taken, n, network.floor(n) / n, n_exc)
    row |= {
        "weights_mib": network.engine._weight.nbytes / 2**20,
        "held_memory_mib": held - before,
        "peak_memory_mib": max(peak, Memory.read("VmHWM")),
    }
    if len(cores) > 1:
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
    """Return evaluation and learning on one core and on all `cores`, in turn.

    "of_linear" is 1 where twice the cores evaluate in half the time, "learning_factor" by how much learning is faster,
    for which a second core samples spikes.
    """
    # Threads take whole tasks of images: an uneven number would measure the division, not the cores.
    share = network.engine._images_per_task * len(cores)
    n = min(-(-n // share) * share, len(network._pixels))
    os.sched_setaffinity(0, cores)  # threads inherit it
    several = event.EventEngine(network.model, network.engine.state(), n_threads=len(cores))
    taken = {1: [], len(cores): []}
    factors = []
    network.learn(n, several)  # compiles
    for _ in range(repeats):
        learning = []
        for used, engine in ((1, network.engine), (len(cores), several)):
            os.sched_setaffinity(0, cores[:used])
            taken[used].append(seconds(lambda engine=engine: network.evaluate(n, engine), time.perf_counter))
            learning.append(seconds(lambda engine=engine: network.learn(n, engine), time.perf_counter))
        factors.append(learning[0] / learning[1])
    one, every = (n / statistics.median(values) for values in taken.values())
    return {
        "n": len(cores),
        "images": n,
        "one_images_per_second": one,
        "all_images_per_second": every,
        "of_linear": every / one / len(cores),
        "learning_factor": statistics.median(factors),
    }


def measure_apart(*arguments) -> dict:
    """Run `measure` in a new process, so that memory is that of one row."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, *arguments).result()


class Ours:
    """This engine in the place of a peer: nearest_online, learning for some CPU seconds."""

    def __init__(self, n_exc: int, pixels: np.ndarray):
        self._network = Network("nearest_online", "diehl_cook", n_exc, pixels)
        self._network.warm_up()
        self._images = len(pixels)

    def learn(self, least: float) -> tuple[int, float]:
        """Learn for `least` CPU seconds or more; return images and CPU seconds."""
        images, start = 0, time.process_time()
        while not images or time.process_time() - start < least:
            self._network.learn(self._images)
            images += self._images
        return images, time.process_time() - start


def compare_peers(arguments, pixels: np.ndarray) -> list[dict]:
    """Return one row for each peer and size."""
    rows = []
    with compare.handed_over(pixels) as pixels_file:
        for n_exc in arguments.peer_n_exc:
            ours = Ours(n_exc, pixels)
            for name in arguments.peer_names:
                peer = compare.start(name, arguments.peers, pixels_file, n_exc)
                rows.append(compare.alternate(peer, ours, arguments.repeats, arguments.peer_seconds))
    return rows


def machine(cores: list[int]) -> dict:
    """Return what the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model_names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": model_names[0] if model_names else platform.processor(),
        "cores": os.cpu_count(),
        "cores_used": len(cores),
        "load_at_start": os.getloadavg()[0],  # what other programs did to these figures
    }


def markdown(head: list[str], lines: list[list[str]]) -> str:
    """Return a table that is also readable as it is: columns of one width, figures to the right."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    rule = ["-" * (width - 1) + ("-" if place == 0 else ":") for place, width in enumerate(widths)]
    texts = []
    for cells in (head, rule, *lines):
        first, *others = zip(cells, widths, strict=True)
        texts.append(" | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]))
    return "\n".join(f"| {text} |" for text in texts)


def table(rows: list[dict]) -> str:
    """Return the table of this program's own speed."""
    head = [
        "rule",
        "group",
        "neurons",
        "images",
        "learning/s",
        "spread",
        "evaluating/s",
        "floor/s",
        "learn x",
        "eval x",
    ]
    head += ["ns", "weights", "held", "peak"]
    lines = [
        [
            row["rule"],
            row["neuron"],
            f"{row['n_exc']}",
            f"{row['images']}",
            f"{row['learning_images_per_second']:,.0f}",
            f"{row['learning_spread']:.0%}",
            f"{row['evaluating_images_per_second']:,.0f}",
            f"{row['floor_images_per_second']:,.0f}",
            f"{row['learning_to_floor']:.2f}",
            f"{row['evaluating_to_floor']:.2f}",
            f"{row['learning_ns_per_neuron_and_spike']:.3f}",
            f"{row['weights_mib']:.1f}",
            f"{row['held_memory_mib']:.1f}",
            f"{row['peak_memory_mib']:.0f}",
        ]
        for row in rows
    ]
    if rows and "threads" in rows[0]:
        n = rows[0]["threads"]["n"]
        head += [f"evaluating/s on {n} cores", "of linear", "learning"]
        for line, row in zip(lines, rows, strict=True):
            line += [f"{row['threads']['all_images_per_second']:,.0f}", f"{row['threads']['of_linear']:.0%}"]
            line += [f"x {row['threads']['learning_factor']:.2f}"]
    return markdown(head, lines)


def chosen_cores(threads: int) -> list[int]:
    """Return the cores to use, as many as threads are asked for, of those this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    if not 1 <= threads <= len(allowed):
        raise SystemExit(f"--threads {threads}: between 1 and {len(allowed)}, the cores that may be used here")
    return allowed[:threads]


def chosen_pairs(names: list[str], neuron: str) -> list[tuple[str, str]]:
    """Return the pairs of rule and neuron group to measure; all rules that the event engine learns by for "all"."""
    pairs = [(name, neuron_of(name, neuron)) for name in (rules if "all" in names else names)]
    compiled = [pair for pair in pairs if implementation_for(rules[pair[0]], neurons[pair[1]])]
    for rule, group in pairs:
        if "all" not in names and (rule, group) not in compiled:
            raise SystemExit(f"--rules {rule}: the event engine does not learn by it with --neuron {group}")
    return compiled


def positive(text: str) -> int:
    """Return the whole number that an option needs to be at least one."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def program(text: str) -> Path:
    """Return the path of a program that is there."""
    if not os.access(text, os.X_OK) or Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no program")
    return Path(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", nargs="+", default=["nearest_online"], choices=[*rules, "all"], metavar="RULE")
    groups = [name for name in neurons if neurons[name].arithmetic == "float"]
    parser.add_argument("--neuron", default="diehl_cook", choices=groups, help="of float rules; default: diehl_cook")
    parser.add_argument("--n-exc", nargs="*", type=int, default=[100, 400, 1600, 6400], metavar="N")
    parser.add_argument("--images", type=positive, default=1000, help="most images per run")
    parser.add_argument("--seconds", type=float, default=1.0, help="fewer images where a run would take longer")
    parser.add_argument("--repeats", type=positive, default=5)
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="measure on N cores too")
    parser.add_argument("--peers", nargs="+", type=program, metavar="PYTHON", help="Pythons of the peers' environments")
    parser.add_argument("--peer-names", nargs="+", default=list(compare.NAMES), choices=compare.NAMES, metavar="PEER")
    parser.add_argument("--peer-n-exc", nargs="+", type=int, default=[100, 400], metavar="N")
    parser.add_argument("--peer-seconds", type=float, default=2.0, help="CPU seconds of one run of each")
    parser.add_argument("--json", action="store_true", help="print JSON with machine, versions and commit")
    parser.add_argument(
        "--output", nargs="+", type=Path, default=[], metavar="FILE", help=".json, or any other: tables"
    )
    return parser.parse_args()


def main() -> None:
    """Measure what the command line asks for, print it and write it."""
    arguments = parse()
    cores, pairs = chosen_cores(arguments.threads), chosen_pairs(arguments.rules, arguments.neuron)
    os.sched_setaffinity(0, cores[:1])
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(cores),
        "versions": versions(),
        "commit": commit(),
        "rows": [],
        "peers": [],
    }
    pixels = MNIST().load().train.pixels.reshape(-1, 784)[: arguments.images]
    for rule, neuron in pairs:
        for n_exc in arguments.n_exc:
            os.sched_setaffinity(0, cores)  # what a new process may use, until it chooses
            row = measure_apart((rule, neuron, n_exc), pixels, arguments.repeats, arguments.seconds, cores)
            document["rows"].append(row)
    os.sched_setaffinity(0, cores[:1])
    if arguments.peers:
        document["peers"] = compare_peers(arguments, pixels)
    texts = [table(document["rows"])] if document["rows"] else []
    if document["peers"]:
        texts.append(compare.table(document["peers"], markdown))
    as_json, as_text = json.dumps(document, indent=2), "\n\n".join(texts)
    for file in arguments.output:
        file.write_text((as_json if file.suffix == ".json" else as_text) + "\n")
    print(as_json if arguments.json else as_text)


if __name__ == "__main__":
    main()
