"""Make the tables of results again, or some rows of them: one sweep of `stdp-run` over the seeds for each row.

    python scripts/reproduce.py                                # every row, seeds 0, 1 and 2
    python scripts/reproduce.py --rows mnist_100 mnist_400     # some rows
    python scripts/reproduce.py --seeds 0 -- threads=1         # overrides for every run come after --
    python scripts/reproduce.py --rows --tables docs/results/data -- threads=1    # no runs: write the tables only
    python scripts/reproduce.py --rows --picture docs/images/operations.png       # no runs: draw TABLES/operations.csv

Each row has a folder, OUTPUT/ROW. The same command skips complete runs and resumes stopped ones; Ctrl-C lets the
present run save itself. Other overrides need another --output. The complete runs in OUTPUT replace their rows in
mnist.csv, fashion_mnist.csv (accuracy), operations.csv (work and energy of an answer) and runs.csv (commands, commits,
times) of the folder TABLES; other rows stay.
"""

import argparse
import itertools
import json
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
from tables import markdown

from stdp_run.reporting.plots.comparison import LOOKS
from stdp_run.reporting.plots.style import GRID, describe, new_figure, to_png

SIZES = (100, 400, 1600, 6400)
PRESETS = [f"{preset}_{n}" for preset in ("two_layers", "mnist", "diehl_cook_2015") for n in SIZES]
PRESETS += [*(f"two_layers_fashion_mnist_{n}" for n in SIZES[1:]), "fashion_mnist_100", "fashion_mnist_400"]
RULES = ("nearest_online", "full_online", "meta_nearest_online", "post_pre_int")
ROWS = {name: f"experiment={name}" for name in PRESETS}
ROWS |= {f"{rule}_{n}": f"rule={rule} n_exc={n}" for rule in RULES for n in (100, 400)}
STOPPED = (130, 138, 143)  # exit codes of a sweep that a signal asked to stop


def sweep(directory: Path, overrides: list[str]) -> int:
    """Run a sweep in a directory, or resume it; return its exit code."""
    command = [sys.executable, "-m", "stdp_run", "-m", *overrides, f"hydra.sweep.dir={directory.resolve()}"]
    with subprocess.Popen(command) as process:
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reaches the sweep by itself, and it is waited for
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        return process.wait()


def spread(percent: pd.Series) -> str:
    """Return the mean and, of several seeds, the standard deviation."""
    return f"{percent.mean():.1f}" + (f" ± {percent.std():.2f}" if len(percent) > 1 else "")


def rows(output: Path, extra: list[str]) -> dict[str, list[dict]]:
    """Return the rows of each table, by the name of its file, from the complete runs in a folder."""
    tables: dict[str, list[dict]] = {"mnist": [], "fashion_mnist": [], "operations": [], "runs": []}
    for name, words in ROWS.items():
        runs = pd.DataFrame([json.loads(file.read_text()) for file in (output / name).glob("*/result.json")])
        if not len(runs):
            continue
        if runs["seed"].duplicated().any():
            raise SystemExit(f"reproduce.py: {output / name} has a seed twice; other overrides need another --output")
        runs, first = runs.sort_values("seed", ignore_index=True), runs.iloc[0]
        percent = 100 * pd.DataFrame(list(runs["accuracy"]))
        line = {"run": name, "neurons": f"{first['n_exc']:,}", "epochs": first["epochs"], "seeds": len(runs)}
        for readout, each in percent.items():
            line[readout] = spread(each)
        each = percent[first["readout"]]
        within = f"{each.mean() - 2 * each.std():.1f}–{each.mean() + 2 * each.std():.1f}" if len(runs) >= 10 else ""
        line |= {"readout": first["readout"], "new seed": within, "supervised": ""}
        if "supervised" in runs:
            line["supervised"] = spread(100 * pd.DataFrame(list(runs["supervised"].dropna()))["accuracy"])
        tables[first["dataset"]].append(line)
        if "operations" in runs and runs["operations"].notna().all():
            work = pd.json_normalize(list(runs["operations"])).mean(numeric_only=True)
            line = {"run": name, "dataset": first["dataset"], "neurons": first["n_exc"]}
            line |= {"accuracy": f"{each.mean():.2f}", "accumulates": round(work["synaptic_operations.Effective_ACs"])}
            tables["operations"].append(line | {"energy (µJ)": f"{work['energy_uj']:.3g}"})
        seconds, commits = runs["wall_seconds"].mean(), sorted({str(commit)[:7] for commit in runs["commit"]})
        line = {"run": name, "each seed": " ".join(f"{value:.1f}" for value in each)}
        line["time"] = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
        command = " ".join(["stdp-run -m", words, *extra, f"seed={','.join(map(str, runs['seed']))}"])
        tables["runs"].append(line | {"commit": " ".join(commits), "command": f"`{command}`"})
    return tables


def write(output: Path, extra: list[str], folder: Path) -> dict[str, list[dict]]:
    """Write the rows of the complete runs to the tables in a folder, in place of rows of the same name; return them."""
    tables = rows(output, extra)
    folder.mkdir(parents=True, exist_ok=True)
    for table, lines in tables.items():
        file = folder / f"{table}.csv"
        old = pd.read_csv(file, dtype=str, keep_default_na=False).to_dict("records") if file.exists() else []
        named = {line["run"]: line for line in [*old, *lines]}
        if lines:
            new = pd.DataFrame([named[name] for name in ROWS if name in named])
            new.to_csv(file, index=False, lineterminator="\n")
    return tables


def draw(table: Path, picture: Path) -> None:
    """Draw accuracy against operations per image from operations.csv, a panel for each dataset."""
    points = pd.read_csv(table)
    panels = list(points.groupby("dataset", sort=False))
    figure = new_figure(560 * len(panels), 460)
    for axes, (dataset, rows) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        families = rows.groupby(rows["run"].str.rpartition("_")[0], sort=False)
        shifts = itertools.cycle([-11, 5])  # of the points, so that labels of neighbouring families stay apart
        for (family, line), look, shift in zip(families, itertools.cycle(LOOKS), shifts, strict=False):
            line = line.sort_values("neurons")
            axes.plot(line["accumulates"], line["accuracy"], **look, label=family)
            for _, point in line.iterrows():
                at = point["accumulates"], point["accuracy"]
                axes.annotate(f"{point['neurons']:,}", at, (5, shift), textcoords="offset points", fontsize=8)
        axes.set_xscale("log")
        axes.grid(color=GRID, linewidth=0.8)
        axes.legend(frameon=False, fontsize=9)
        describe(axes, dataset, "effective accumulates per image", "test accuracy (%)")
    picture.write_bytes(to_png(figure))


def main() -> int:
    """Run what is missing and write the tables; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--seeds", default="0,1,2", metavar="N,N", help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("outputs/reproduce"), help="default: %(default)s")
    parser.add_argument("--tables", type=Path, help="default: OUTPUT")
    parser.add_argument("--picture", type=Path, help="PNG of accuracy against operations, drawn from operations.csv")
    parser.add_argument("extra", nargs="*", metavar="KEY=VALUE", help="overrides for every run, after --")
    arguments = parser.parse_args()
    failed, written = 0, (arguments.output, arguments.extra, arguments.tables or arguments.output)
    for name in arguments.rows:
        words = [*ROWS[name].split(), *arguments.extra, f"seed={arguments.seeds}"]
        code = sweep(arguments.output / name, words)
        if code in STOPPED:
            return code
        failed = max(failed, code)
        write(*written)
    tables = write(*written)
    if arguments.picture:
        draw(written[2] / "operations.csv", arguments.picture)
    for lines in (tables["mnist"], tables["fashion_mnist"]):
        if lines:
            print(markdown([{head: str(cell) for head, cell in line.items()} for line in lines]), end="\n\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())
