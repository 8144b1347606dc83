"""Make the table of results again, or some rows of it: one sweep of `stdp-run` over the seeds for each row.

    python scripts/reproduce.py                                # every row, seeds 0, 1 and 2
    python scripts/reproduce.py --rows mnist_100 mnist_400     # some rows
    python scripts/reproduce.py --seeds 0 -- threads=1         # overrides for every run come after --

Each row has a folder, OUTPUT/ROW. The same command leaves out runs that are complete and resumes those that were
stopped: Ctrl-C lets the present run save itself. Other overrides need another --output. The table of all rows in OUTPUT
goes to OUTPUT/results.md; its last line has the commits of its runs.
"""

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
from tables import markdown

SIZES = (100, 400, 1600, 6400)
PRESETS = [f"{preset}_{n}" for preset in ("two_layers", "mnist", "diehl_cook_2015") for n in SIZES]
PRESETS += ["two_layers_fashion_mnist_400", "two_layers_fashion_mnist_1600", "fashion_mnist_100", "fashion_mnist_400"]
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


def table(output: Path, extra: list[str]) -> str:
    """Return the table of the complete runs in a folder: accuracy in %, the mean over seeds, and each of them."""
    lines, commits = [], set()
    for name, words in ROWS.items():
        runs = pd.DataFrame([json.loads(file.read_text()) for file in (output / name).glob("*/result.json")])
        if not len(runs):
            continue
        if runs["seed"].duplicated().any():
            raise SystemExit(f"reproduce.py: {output / name} has a seed twice; other overrides need another --output")
        runs, first = runs.sort_values("seed", ignore_index=True), runs.iloc[0]
        percent = 100 * pd.DataFrame(list(runs["accuracy"]))
        line = {"run": name, "neurons": f"{first['n_exc']:,}", "epochs": f"{first['epochs']}"}
        for readout, of_seeds in percent.items():
            line[f"`{readout}`"] = f"{of_seeds.mean():.1f}"
            if readout == first["readout"]:
                each = f" ({', '.join(f'{value:.1f}' for value in of_seeds)}; sd {of_seeds.std():.2f})"
                line[f"`{readout}`"] = f"**{of_seeds.mean():.1f}**" + each * (len(runs) > 1)
        line["wall time"] = f"{runs['wall_seconds'].mean():.0f} s"
        command = " ".join(["stdp-run -m", words, *extra, f"seed={','.join(map(str, runs['seed']))}"])
        lines.append(line | {"command": f"`{command}`"})
        commits |= set(runs["commit"])
    note = f"Accuracy in %, mean of the seeds; bold: the row's own readout. Commits: {', '.join(map(str, commits))}."
    return f"{markdown(lines)}\n\n{note}\n" if lines else "no complete runs\n"


def main() -> int:
    """Run what is missing and write the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--seeds", default="0,1,2", metavar="N,N", help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("outputs/reproduce"), help="default: %(default)s")
    parser.add_argument("extra", nargs="*", metavar="KEY=VALUE", help="overrides for every run, after --")
    arguments = parser.parse_args()
    failed = 0
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.rows:
        words = [*ROWS[name].split(), *arguments.extra, f"seed={arguments.seeds}"]
        code = sweep(arguments.output / name, words)
        if code in STOPPED:
            return code
        failed = max(failed, code)
        (arguments.output / "results.md").write_text(table(arguments.output, arguments.extra))
    print((arguments.output / "results.md").read_text(), end="")
    return failed


if __name__ == "__main__":
    sys.exit(main())
