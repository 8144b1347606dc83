"""Make the table of results again, or some rows of it: one `stdp-run` for each row and seed.

    python scripts/reproduce.py                                # every row, seeds 0, 1 and 2
    python scripts/reproduce.py --rows mnist_100 mnist_400     # some rows
    python scripts/reproduce.py --list                         # the rows there are, with their commands
    python scripts/reproduce.py --seeds 0 -- threads=1         # overrides for every run come after --

Each run has a folder of its own, OUTPUT/ROW/seed_N, in which started.json notes commit, command and machine. Ctrl-C
lets the present run save itself and ends; the same command resumes there. A complete run is not repeated. If its commit
or its command are not those of now, the script says so and leaves it out of the table, unless --redo is given. The
table goes to OUTPUT/results.md and OUTPUT/results.csv; it is written anew after every run from all that is in OUTPUT.
"""

import argparse
import json
import platform
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stdp_run.evaluation.readouts import READOUTS
from stdp_run.system import available_cores
from stdp_run.training.result import commit
from stdp_run.training.run_directory import RunDirectory

DONE = "there already"
NOT_OURS = "left alone: the folder holds something else; remove it, or choose another --output"
STOPPED = (130, 138, 143)  # exit codes of a run that a signal asked to stop
DIEHL_COOK = {100: "82.9", 400: "87.0", 1600: "91.9", 6400: "95.0"}  # %, Diehl & Cook 2015
BEST = {100: "87.7", 400: "91.8", 1600: "92.6 (900 neurons)", 6400: "95.1"}  # %, the best that was found published
DONG = {6400: "97.9"}  # %, two layers, Dong et al. 2022, the best epoch on the test set
RULES = ("nearest_online", "full_online", "meta_nearest_online", "post_pre_int")

COPIED = ["split", "dataset", "rule", "neuron", "n_exc", "epochs", "seed", "readout", "silent_neurons"]
COPIED += ["train_images_per_second", "eval_images_per_second", "wall_seconds", "commit"]  # from result.json
ACCURACIES = {name: f"accuracy_{name}" for name in READOUTS}
COLUMNS = ["row", *COPIED, *ACCURACIES.values(), "machine"]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    overrides: tuple[str, ...]
    diehl_cook: str = ""  # accuracy in % that Diehl & Cook 2015 report for that many neurons
    best: str = ""  # the best that was found published elsewhere

    def command(self, seeds: str, extra: list[str], *options: str) -> str:
        """Return what one types for this row."""
        return shlex.join(("stdp-run", *options, *self.overrides, *extra, f"seed={seeds}"))


def all_rows() -> dict[str, Row]:
    """Return the rows of the table by name, in their order."""
    rows = [Row(f"two_layers_{n}", (f"experiment=two_layers_{n}",), DIEHL_COOK[n], DONG.get(n, "")) for n in DIEHL_COOK]
    rows += [Row(f"mnist_{n}", (f"experiment=mnist_{n}",), DIEHL_COOK[n], BEST[n]) for n in BEST]
    rows += [Row(name, (f"experiment={name}",)) for name in (f"two_layers_fashion_mnist_{n}" for n in (400, 1600))]
    rows += [Row(f"fashion_mnist_{n}", (f"experiment=fashion_mnist_{n}",)) for n in (100, 400)]
    rows += [Row(f"diehl_cook_2015_{n}", (f"experiment=diehl_cook_2015_{n}",), DIEHL_COOK[n]) for n in DIEHL_COOK]
    rows += [Row(f"{rule}_{n}", (f"rule={rule}", f"n_exc={n}")) for rule in RULES for n in (100, 400)]
    return {row.name: row for row in rows}


def main() -> int:
    """Run what is missing and write the tables; return the exit code."""
    arguments = parse()
    rows = [all_rows()[name] for name in arguments.rows]
    if arguments.list:
        print("\n".join(f"{row.name:28}{shlex.join(('stdp-run', *row.overrides))}" for row in rows))
        return 0
    runs = [(row, seed) for row in rows for seed in arguments.seeds]
    failed = 0
    for number, (row, seed) in enumerate(runs, 1):
        directory = arguments.output / row.name / f"seed_{seed}"
        command = row.command(str(seed), arguments.extra)
        state = state_of(directory, command)
        print(f"[{number}/{len(runs)}] {row.name}, seed {seed}: {state or 'runs'}", flush=True)
        failed += state == NOT_OURS
        if state is None or (state not in (DONE, NOT_OURS) and arguments.redo):
            code = run(directory, command)
            if code in STOPPED:
                print(f"reproduce.py: stopped; the same command resumes {row.name}, seed {seed}", file=sys.stderr)
                return code
            failed += code != 0
            write_tables(arguments.output, arguments.extra)
    print(write_tables(arguments.output, arguments.extra), end="")
    return 1 if failed else 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    rows = all_rows()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=list(rows), choices=rows, metavar="ROW", help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    parser.add_argument("--output", type=Path, default=Path("outputs/reproduce"), help="default: %(default)s")
    parser.add_argument("--redo", action="store_true", help="repeat runs of another commit or another command")
    parser.add_argument("--list", action="store_true", help="print the rows and their commands, run nothing")
    parser.add_argument("extra", nargs="*", metavar="KEY=VALUE", help="overrides for every run, after --")
    return parser.parse_args()


# ------------------------------------------------------------------------------------------------------------------
# One run.


def started(directory: Path) -> dict:
    """Return what started.json notes of a run: its commit, command and machine; nothing where it cannot be read."""
    with suppress(OSError, ValueError):
        return json.loads((directory / "started.json").read_text())
    return {}


def state_of(directory: Path, command: str) -> str | None:
    """Return None if the run has to be done, DONE if it is complete, else why it is neither repeated nor used."""
    there = started(directory)
    if not there and directory.exists() and any(directory.iterdir()):
        return NOT_OURS
    if RunDirectory(directory).result() is None:
        return None
    for name, now in (("commit", commit()), ("command", command)):
        if there.get(name) != now:
            return f"not repeated: its {name} is {there.get(name)}, now it is {now} (--redo repeats it)"
    return DONE


def run(directory: Path, command: str) -> int:
    """Run `stdp-run` in `directory`, or resume what the same command began there; return its exit code."""
    note = {"commit": commit(), "command": command, "machine": machine()}
    there = started(directory)
    if RunDirectory(directory).result() or (there.get("commit"), there.get("command")) != (note["commit"], command):
        shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "started.json").write_text(json.dumps(note, indent=2) + "\n")
    overrides = shlex.split(command)[1:]
    code = wait_for([sys.executable, "-m", "stdp_run", *overrides, f"hydra.run.dir={directory.resolve()}"])
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


def machine() -> str:
    """Return the processor and how many of its cores may be used."""
    name = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return f"{name}, {available_cores()} core{'' if available_cores() == 1 else 's'}"


# ------------------------------------------------------------------------------------------------------------------
# The table.


def write_tables(output: Path, extra: list[str]) -> str:
    """Write results.md and results.csv from every run that is complete and up to date; return the former."""
    output.mkdir(parents=True, exist_ok=True)
    runs = complete_runs(output, extra)
    text = markdown(runs, extra)
    (output / "results.md").write_text(text)
    runs.to_csv(output / "results.csv", index=False)
    return text


def complete_runs(output: Path, extra: list[str]) -> pd.DataFrame:
    """Return a line for each run, figures unrounded."""
    lines = []
    for row in all_rows().values():
        for directory in sorted((output / row.name).glob("seed_*"), key=lambda path: int(path.name[5:])):
            if state_of(directory, row.command(directory.name[5:], extra)) == DONE:
                result = RunDirectory(directory).result()
                line = {"row": row.name, "machine": started(directory)["machine"]}
                line |= {key: result[key] for key in COPIED}
                lines.append(line | {column: result["accuracy"][name] for name, column in ACCURACIES.items()})
    return pd.DataFrame(lines, columns=COLUMNS)


def markdown(runs: pd.DataFrame, extra: list[str]) -> str:
    """Return the table as Markdown: accuracy in %, mean over seeds, each and the spread for the row's own readout."""
    heads = ["run", "neurons", "epochs", *(f"`{name}`" for name in READOUTS)]
    heads += ["Diehl & Cook 2015", "best found published", "wall time", "command"]
    table = [heads, ["---"] * len(heads)]
    for name, seeds in runs.groupby("row", sort=False):
        row, first = all_rows()[name], seeds.iloc[0]
        command = row.command(",".join(map(str, seeds["seed"])), extra, "-m")
        accuracies = [accuracy(100 * seeds[ACCURACIES[each]], each == first["readout"]) for each in READOUTS]
        line = [name, f"{first['n_exc']:,}", str(first["epochs"]), *accuracies, row.diehl_cook, row.best]
        table.append([*line, duration(seeds["wall_seconds"].mean()), f"`{command}`"])
    split = " and ".join(sorted(set(runs["split"]))) or "test"
    note = f"Accuracy in % on the {split} split, mean of the seeds; bold: the row's own readout, with each seed and"
    note += " their standard deviation. Wall time is that of one run, mean of the seeds."
    note += f" Commit {commit()}, {'; '.join(sorted(set(runs['machine']))) or machine()}."
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in table), "", note, ""])


def accuracy(percent: pd.Series, own: bool) -> str:
    """Return the mean over seeds; for the readout that the runs are judged by in bold, with "(each; sd)"."""
    mean = f"{percent.mean():.1f}"
    if not own:
        return mean
    if len(percent) == 1:
        return f"**{mean}**"
    return f"**{mean}** ({', '.join(f'{value:.1f}' for value in percent)}; sd {percent.std():.2f})"


def duration(seconds: float) -> str:
    """Return seconds as one would write them."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


if __name__ == "__main__":
    sys.exit(main())
