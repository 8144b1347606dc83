"""Regenerate the table of results in the README, or some rows of it: one `stdp-run` for each row and seed.

    python scripts/reproduce.py                                # every row, seeds 0, 1 and 2
    python scripts/reproduce.py --rows mnist_100 mnist_400     # some rows
    python scripts/reproduce.py --list                         # the rows there are, with their commands
    python scripts/reproduce.py --seeds 0 -- threads=2         # overrides for every run come after --

Each run has a folder of its own, OUTPUT/ROW/seed_N. Ctrl-C lets the run at hand save itself and ends; the same command
goes on from there. A run that is complete is not repeated if its settings and its commit are those of now; if they are
not, the script says so and leaves it out of the table unless --redo is given. The table goes to OUTPUT/results.md and
OUTPUT/results.csv, with the commit and the machine, and is written anew after every run from all that is in OUTPUT.
"""

import argparse
import csv
import io
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stdp_run.config.compatibility import OPERATIONAL
from stdp_run.evaluation.readouts import READOUTS
from stdp_run.reporting.result import commit
from stdp_run.system import available_threads
from stdp_run.training.run_directory import RunDirectory, differences

STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGUSR1)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    overrides: tuple[str, ...]
    diehl_cook: str = ""  # accuracy in % that Diehl & Cook 2015 report for that many neurons
    best: str = ""  # the best that was found published elsewhere

    def arguments(self, seed: int, extra: list[str]) -> list[str]:
        """Return the overrides of one run."""
        return [*self.overrides, f"seed={seed}", *extra]

    @property
    def command(self) -> str:
        """Return what a person types."""
        return " ".join(("stdp-run", *self.overrides))


DIEHL_COOK = {100: "82.9", 400: "87.0", 1600: "91.9", 6400: "95.0"}
BEST = {100: "87.7", 400: "91.8", 1600: "92.6 (900 neurons)", 6400: "95.1"}


def all_rows() -> list[Row]:
    """Return the rows of the table, in its order."""
    rows = [Row(f"mnist_{n}", (f"experiment=mnist_{n}",), DIEHL_COOK[n], BEST[n]) for n in BEST]
    rows += [Row(f"fashion_mnist_{n}", (f"experiment=fashion_mnist_{n}",)) for n in (100, 400)]
    rows += [Row(f"diehl_cook_2015_{n}", (f"experiment=diehl_cook_2015_{n}",), DIEHL_COOK[n]) for n in DIEHL_COOK]
    for rule in ("nearest_online", "full_online", "meta_nearest_online", "post_pre_int"):
        rows += [Row(f"{rule}_{n}", (f"rule={rule}", f"n_exc={n}")) for n in (100, 400)]
    return rows


def main() -> int:
    arguments = parse()
    rows = chosen_rows(arguments.rows)
    if arguments.list:
        print("\n".join(f"{row.name:28}{row.command}" for row in rows))
        return 0
    arguments.output.mkdir(parents=True, exist_ok=True)
    runs = [(row, seed) for row in rows for seed in arguments.seeds]
    failed = 0
    for number, (row, seed) in enumerate(runs, 1):
        directory = arguments.output / row.name / f"seed_{seed}"
        verdict = state_of(directory, row.arguments(seed, arguments.extra))
        print(f"[{number}/{len(runs)}] {row.name}, seed {seed}: {verdict or 'runs'}", flush=True)
        if verdict is None or (verdict != DONE and arguments.redo):
            code = run(directory, row.arguments(seed, arguments.extra))
            if code in STOPPED:
                print(f"reproduce.py: stopped; the same command goes on with {row.name}, seed {seed}", file=sys.stderr)
                return code
            failed += code != 0
            write_tables(arguments)
    write_tables(arguments)
    print((arguments.output / "results.md").read_text(), end="")
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="rows to run; default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    parser.add_argument("--output", type=Path, default=Path("outputs/reproduce"), help="default: %(default)s")
    parser.add_argument("--redo", action="store_true", help="repeat runs with other settings or of another commit")
    parser.add_argument("--list", action="store_true", help="print the rows and their commands, run nothing")
    parser.add_argument("extra", nargs="*", metavar="KEY=VALUE", help="overrides for every run, after --")
    return parser.parse_args()


def chosen_rows(names: list[str] | None) -> list[Row]:
    known = {row.name: row for row in all_rows()}
    for name in names or ():
        if name not in known:
            sys.exit(f"reproduce.py: error: --rows {name}: must be one of {', '.join(known)}")
    return [known[name] for name in names] if names else list(known.values())


# ------------------------------------------------------------------------------------------------------------------
# One run.

DONE = "there already"


def state_of(directory: Path, arguments: list[str]) -> str | None:
    """Return None if the run has to be done, DONE if it is complete, else why its result cannot be used."""
    result = RunDirectory(directory).result()
    if result is None:
        return None
    if result["commit"] != commit():
        return f"not repeated: its commit is {result['commit']}, now it is {commit()} (--redo repeats it)"
    there = RunDirectory(directory).config()
    if there is None:
        return "not repeated: its config.yaml cannot be read (--redo repeats it)"
    changed = differences(settings_now(arguments), there, OPERATIONAL)
    if changed:
        return f"not repeated: {', '.join(changed)} (--redo repeats it)"
    return DONE


def settings_now(arguments: list[str]) -> dict:
    """Return the settings that the overrides stand for."""
    from hydra import compose, initialize_config_dir

    from stdp_run.config.build import conf_folder
    from stdp_run.config.schema import read_settings

    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return read_settings(compose("config", overrides=arguments)).record


def run(directory: Path, arguments: list[str]) -> int:
    """Run `stdp-run` in `directory`, or go on with what the same commit began there; return its exit code."""
    begun_with, here = directory / "commit.txt", str(commit())
    complete = (directory / "result.json").exists()  # with other settings or of another commit
    if complete or not begun_with.exists() or begun_with.read_text() != here:
        (directory / "result.json").unlink(missing_ok=True)
        shutil.rmtree(directory / "checkpoints", ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    begun_with.write_text(here)
    code = wait_for([sys.executable, "-m", "stdp_run.cli", *arguments, f"hydra.run.dir={directory.resolve()}"])
    if code:
        print(f"reproduce.py: {directory}: stdp-run ended with {code}", file=sys.stderr)
    return code


def wait_for(command: list[str]) -> int:
    """Run a command and return its exit code; SIGTERM is handed on to it, and Ctrl-C reaches it by itself."""
    with subprocess.Popen(command) as process:
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        with suppress(KeyboardInterrupt):  # it saves what it has, and is waited for
            process.wait()
        code = process.wait()
        signal.signal(signal.SIGTERM, before)
    return 128 - code if code < 0 else code


# ------------------------------------------------------------------------------------------------------------------
# The table.


def write_tables(arguments: argparse.Namespace) -> None:
    """Write results.md and results.csv from every run in the folder that is complete and up to date."""
    lines = []
    for row in all_rows():
        results = []
        for directory in sorted((arguments.output / row.name).glob("seed_*"), key=seed_of):
            if state_of(directory, row.arguments(seed_of(directory), arguments.extra)) == DONE:
                threads = RunDirectory(directory).config()["threads"] or available_threads(os.environ)
                results.append({**RunDirectory(directory).result(), "machine": machine(threads)})
        if results:
            lines.append((row, results))
    (arguments.output / "results.md").write_text(markdown(lines, arguments.extra))
    (arguments.output / "results.csv").write_text(comma_separated(lines))


def seed_of(directory: Path) -> int:
    return int(directory.name.removeprefix("seed_"))


def markdown(lines: list[tuple[Row, list[dict]]], extra: list[str]) -> str:
    """Return the table as Markdown: accuracy in %, mean over seeds, each and the spread for the row's own readout."""
    heads = ["run", "neurons", "passes", *(f"`{name}`" for name in READOUTS)]
    heads += ["Diehl & Cook 2015", "best found published", "wall time", "command"]
    out = [cells(heads), cells(["---"] * len(heads))]
    for row, results in lines:
        first = results[0]
        seconds = statistics.mean(result["wall_seconds"] for result in results)
        seeds = ",".join(str(result["seed"]) for result in results)
        command = f"`stdp-run -m {' '.join((*row.overrides, *extra))} seed={seeds}`"
        accuracies = [accuracy(results, name) for name in READOUTS]
        size, passes = f"{first['n_exc']:,}", str(first["epochs"])
        out.append(cells([row.name, size, passes, *accuracies, row.diehl_cook, row.best, duration(seconds), command]))
    note = f"Accuracy in % on the {split_of(lines)}, mean of the seeds; bold: the row's own readout, with each seed and"
    note += " their standard deviation. Wall time is that of one run, mean of the seeds."
    machines = sorted({result["machine"] for _, results in lines for result in results})
    return "\n".join([*out, "", f"{note} Commit {commit()}, {'; '.join(machines) or machine(1)}.", ""])


def cells(values: list[str]) -> str:
    return f"| {' | '.join(values)} |"


def accuracy(results: list[dict], readout: str) -> str:
    """Return the mean over seeds in %; for the readout that the runs are judged by in bold, with "(each; sd)"."""
    values = [100 * result["accuracy"][readout] for result in results]
    mean = f"{statistics.mean(values):.1f}"
    if readout != results[0]["readout"]:
        return mean
    if len(values) == 1:
        return f"**{mean}**"
    each = ", ".join(f"{value:.1f}" for value in values)
    return f"**{mean}** ({each}; sd {statistics.stdev(values):.2f})"


def split_of(lines) -> str:
    splits = sorted({f"{result['split']} split" for _, results in lines for result in results})
    return " and ".join(splits) or "test split"


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def comma_separated(lines: list[tuple[Row, list[dict]]]) -> str:
    """Return a line per run, unrounded, as CSV."""
    keys = ["split", "dataset", "rule", "neuron", "n_exc", "epochs", "seed", "readout", "silent_neurons"]
    keys += ["train_images_per_second", "eval_images_per_second", "wall_seconds", "commit"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", *keys, *(f"accuracy_{name}" for name in READOUTS), "machine"])
    for row, results in lines:
        for result in results:
            shares = [result["accuracy"][name] for name in READOUTS]
            writer.writerow([row.name, *(result[key] for key in keys), *shares, result["machine"]])
    return text.getvalue()


def machine(threads: int) -> str:
    """Return the processor and how many of its cores a run with so many threads uses."""
    name = platform.processor() or platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text()
        name = next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = min(threads, len(os.sched_getaffinity(0)))
    return f"{name}, {cores} core{'' if cores == 1 else 's'}"


if __name__ == "__main__":
    sys.exit(main())
