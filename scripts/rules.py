"""The rule benchmark: tune every rule with the same effort, then measure each with the best constants that were found.

    python scripts/rules.py tune                     # 60 trials of Optuna for each rule, on the validation split
    python scripts/rules.py measure                  # the best trial's constants on the test set, three seeds
    python scripts/rules.py show --folder scripts    # the table and the picture of docs/results/rules.md
    python scripts/rules.py best --folder scripts    # the command of each rule's best constants
    python scripts/rules.py tune --rules triplet --folder quick --set n_train=200 hydra.sweeper.n_trials=2

scripts/rules.yaml has what is searched. A rule's trials and its runs are a sweep each, in FOLDER/sweeps; the same
command resumes them. Figures go to FOLDER/rules_trials.csv and rules_results.csv; scripts/ has those of
docs/results/rules.md.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf
from reproduce import sweep
from tables import markdown

from stdp_run.reporting.plots.style import BLUE, GREY, VERMILION, counted, describe, new_figure, to_png

SEARCH = OmegaConf.to_container(OmegaConf.load(Path(__file__).with_name("rules.yaml")))


def words(rule: str, *settings: dict) -> list[str]:
    """Return the overrides of a rule's runs; later settings replace earlier ones."""
    merged = {"rule": rule, **SEARCH["every"], **SEARCH["every_of"].get(rule, {})}
    for each in settings:
        merged |= each
    return [f"{key}={value}" for key, value in merged.items()]


def run(file: Path, rule: str, settings: list[str], trial: int | None = None) -> None:
    """Run or resume a sweep of a rule, and put its runs into a table; they are trials if they belong to no `trial`."""
    directory, lines = file.parent / "sweeps" / f"{file.stem}_{rule}", []
    if code := sweep(directory, settings):
        sys.exit(code)
    for result in sorted(directory.glob("*/result.json"), key=lambda path: path.stat().st_mtime):
        figures, given = json.loads(result.read_text()), OmegaConf.load(result.parent / ".hydra/overrides.yaml")
        line = {"rule": rule, "images": figures["train_images"], "trial": len(lines) if trial is None else trial}
        line |= {key: figures[key] for key in ("n_exc", "epochs", "seed", "spikes_per_image")}
        line["accuracy"] = figures["accuracy"]["all_activity"]
        line["images_per_second"] = figures["train_images_per_second"]
        line["constants"] = " ".join(word for word in given if word.partition("=")[0] in SEARCH["spaces"][rule])
        lines.append(line)
    others = [pd.read_csv(file).query("rule != @rule")] if file.exists() else []
    pd.concat([*others, pd.DataFrame(lines)]).to_csv(file, index=False)


def space(rule: str) -> dict[str, str]:
    """Return the overrides that search the constants of a rule, of whole numbers where their bounds are."""
    found = {}
    for key, bounds in SEARCH["spaces"][rule].items():
        inside = f"interval({bounds.replace(' ', '')})"
        found[key] = f"tag(log,{inside if '.' in bounds else f'int({inside})'})"
    return found


def show(runs: pd.DataFrame, best: pd.DataFrame, table: Path, picture: Path) -> None:
    """Print and write the table of rules, accuracy in % over seeds, and write its picture."""
    first = runs[runs["epochs"] == runs["epochs"].min()]
    largest = first[first["n_exc"] == first["n_exc"].max()].groupby("rule")["accuracy"].mean()
    order = list(largest.sort_values(ascending=False).index)
    lines, figure = [], new_figure(800, 90 + 34 * len(order))
    axes = figure.subplots()
    for rule in order:
        line = {"rule": f"`{rule}`"}
        for (epochs, n_exc), each in runs[runs["rule"] == rule].groupby(["epochs", "n_exc"]):
            name, percent = f"{n_exc} neurons, {counted(epochs, 'epoch')}", 100 * each["accuracy"]
            line[name] = f"{percent.mean():.1f}" + f" ± {percent.std():.1f}" * (len(percent) > 1)
            height = len(order) - len(lines) + (0.14 if epochs > 1 else -0.14)
            colour, label = {100: BLUE, 400: VERMILION}.get(n_exc, GREY), "" if lines else name
            style = {"color": colour, "mfc": colour if epochs > 1 else "white", "label": label}
            axes.plot(percent, [height] * len(percent), "o", **style)
        line["best trial"] = f"{100 * best.loc[rule, 'accuracy']:.1f}"
        for name, form in (("images_per_second", ",.0f"), ("spikes_per_image", ".0f"), ("graded", ".2f")):
            if name not in first:  # graded: recorded by an earlier version
                continue
            means = first[first["rule"] == rule].groupby("n_exc")[name].mean()
            line[name.replace("_", " ")] = " / ".join(f"{mean:{form}}" for mean in means)
        lines.append(line)
    axes.set_xlim(left=(least := 100 * runs["accuracy"].quantile(0.01) - 1))  # one that failed would squeeze the others
    axes.set_yticks(range(1, len(order) + 1), order[::-1])
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    outside = (100 * runs["accuracy"] < least).sum()
    describe(axes, "", f"accuracy of each run on the test set (%); to the left: {outside}", "")
    picture.write_bytes(to_png(figure))
    pd.DataFrame(lines).to_csv(table, index=False, lineterminator="\n")
    print(markdown(lines))


def main() -> None:
    """Do the step that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("tune", "measure", "show", "best"))
    parser.add_argument("--rules", nargs="+", default=list(SEARCH["spaces"]), choices=SEARCH["spaces"], metavar="RULE")
    parser.add_argument("--folder", type=Path, default=Path("outputs/rules"), help="default: %(default)s")
    parser.add_argument("--table", type=Path, default=Path("rules.csv"), help="that show writes (%(default)s)")
    parser.add_argument("--picture", type=Path, default=Path("rules.png"), help="that show writes (%(default)s)")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="overrides of tune and measure")
    arguments = parser.parse_args()
    extra = dict(word.split("=", 1) for word in arguments.set)
    trials_file, runs_file = (arguments.folder / f"rules_{name}.csv" for name in ("trials", "results"))
    if arguments.step == "tune":
        for rule in arguments.rules:
            run(trials_file, rule, words(rule, SEARCH["trials"], space(rule), extra))
        return
    trials = pd.read_csv(trials_file)
    best = trials.loc[trials.groupby("rule")["accuracy"].idxmax()].set_index("rule")
    if arguments.step == "show":
        runs = pd.read_csv(runs_file)
        return show(runs[runs["rule"].isin(arguments.rules)], best, arguments.table, arguments.picture)
    for rule in arguments.rules:
        constants = dict(word.split("=") for word in best.loc[rule, "constants"].split())
        if arguments.step == "best":
            print("stdp-run", shlex.join(words(rule, constants)))
        else:
            run(runs_file, rule, words(rule, SEARCH["runs"], constants, extra), best.loc[rule, "trial"])


if __name__ == "__main__":
    main()
