"""The league of rules: tune every rule with the same effort, then measure each with the best that was found.

    python scripts/rules.py tune measure                  # all of it, about an hour of one core
    python scripts/rules.py table plot                    # the Markdown table, and the picture of conf/README.md
    python scripts/rules.py best                          # the command of each rule's best constants
    python scripts/rules.py tune measure table --rules triplet --trials 2 --images 200 --folder quick

Tuning: for each rule --trials trials of Optuna (TPE, seeded) on the validation split, with 100 neurons and --images
training images; a trial counts by the accuracy of `all_activity` on the last 10,000 training images. In each the same
number of constants is searched on a log scale around what is published: three of network and encoder, and four of the
rule (SEARCHED). All images have 150 steps, and the learning rate falls as `trainer.schedule=exponential` has it, but
for integers, where it cannot. Measuring: the best trial's constants on the test set, learned from all training images,
labels from 10,000 of them; every figure is that of `stdp-run` with the same settings.

Trials go to FOLDER/rules_trials.csv and runs to FOLDER/rules_results.csv. What is there is not done again, and a search
that was stopped goes on as if it had not been. Optuna is in the extra `tune`.
"""

import argparse
import csv
import itertools
import time
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hydra import compose, initialize_config_dir

from stdp_run.config.build import build_model, conf_folder, published
from stdp_run.config.schema import Settings, read_settings
from stdp_run.datasets.selection import Data, load_images
from stdp_run.encoding import image_order
from stdp_run.engines.base import Engine
from stdp_run.engines.selection import EngineOptions, make_engine
from stdp_run.network import initial_state
from stdp_run.reporting.plots.style import BLUE, GREY, GRID, VERMILION, counted, describe, new_figure, to_png
from stdp_run.training.run import label, measure
from stdp_run.training.tracking import Bars
from stdp_run.training.trainer import lr_factor

SIZE, TIME, SCALE = 20.0, 5.0, 3.0  # how far from the published value, either way: changes, times and targets, norms
NETWORK = {"neuron.theta_increment": 10.0, "neuron.w_ie": (50.0, 1000.0), "encoder.max_rate_hz": 2.0}
PAIR = {"rule.a_post": SIZE, "rule.a_pre": SIZE, "rule.tau_pre": TIME}
TARGET = {"rule.x_tar": TIME, "rule.tau_pre": TIME}
NORM, PLUS_MINUS = {"rule.w_norm": SCALE}, {"rule.a_plus": SIZE, "rule.a_minus": SIZE}
SEARCHED: dict[str, dict] = {  # by key: a factor around the published value, or the bounds
    "triplet": NETWORK | PAIR | NORM,
    "power_law": NETWORK | {"rule.eta": SIZE} | TARGET | NORM,
    "power_law_pre_post": NETWORK | {"rule.eta_post": SIZE} | TARGET | NORM,  # eta_pre follows, see `overrides`
    "exponential": NETWORK | {"rule.eta": SIZE} | TARGET | NORM,
    "weight_dependent": NETWORK | PAIR | NORM,
    # Published without a norm, and so here. Instead of it w_max, the scale of the weights.
    "rectangular": NETWORK | PLUS_MINUS | {"rule.t_ltp": TIME, "rule.w_max": SCALE},
    "multiplicative": NETWORK | PLUS_MINUS | {"neuron.w_init_max": SCALE, "rule.w_max": SCALE},
    "nearest_online": NETWORK | PAIR | NORM,
    "full_online": NETWORK | PAIR | NORM,
    "post_pre_int": {  # w_ie is as large as the type allows; the norm is where max_threshold halves the weights
        **{"neuron.theta_increment": 10.0, "neuron.threshold": SCALE, "encoder.max_rate_hz": 2.0},
        **{"rule.nu0": SIZE, "rule.nu1": SIZE, "rule.trace_decay": (29000, 32500), "rule.max_threshold": SCALE},
    },
    "meta_nearest_online": NETWORK | PAIR | {"neuron.w_init_max": SCALE},  # of which it keeps the mean weight
}
INTEGERS = {"post_pre_int"}
TUNED_FOR, LABEL_TRIAL, LABEL_RUN = 100, 5000, 10000  # neurons; images at most
SETTLED, TOO_MANY = 1000, 500  # images, and spikes an image after them: such a trial is given up, it takes minutes

TRIALS, RESULTS = "rules_trials.csv", "rules_results.csv"
OF_TRIAL = ["rule", "images", "trial", "accuracy", "spikes_per_image", "cpu_seconds", "constants"]
OF_RUN = ["rule", "images", "trial", "n_exc", "epochs", "seed", "accuracy", "images_per_second", "spikes_per_image"]
OF_RUN += ["graded"]  # mean of 4 w (w_max - w) / w_max^2 over the weights: 0 where all are binary
SHOWN = {"images_per_second": ",.0f", "spikes_per_image": ".0f", "graded": ".2f"}
PICTURE = Path(__file__).parents[1] / ".github/images/rules.png"


# ------------------------------------------------------------------------------------------------------------------
# One network.


@cache
def base(rule: str) -> Settings:
    """Return the settings that all networks of a rule have in common."""
    schedule = "constant" if rule in INTEGERS else "exponential"
    words = [f"rule={rule}", "tuned=none", "engine=event", "device=cpu", "encoder.steps=150"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return read_settings(compose("config", overrides=[*words, f"trainer.schedule={schedule}"]))


@cache
def images(split: str, n_train: int | None) -> Data:
    """Return the images of a split."""
    return load_images(base("triplet").with_values({"dataset.split": split, "n_train": n_train}))


def learn(engine: Engine, settings: Settings, data: Data, most_spikes: float) -> bool:
    """Learn as a run does; return False, and give up, where an image evokes more than `most_spikes`."""
    n = len(data.train_pixels)
    for epoch in range(settings.epochs):
        order, seen = image_order(n, epoch, settings.seed), epoch * n + np.arange(n)
        rate = lr_factor(settings.trainer.schedule, settings.trainer.rate_end, seen / (n * settings.epochs))
        for start in range(0, n, 250):
            chosen = order[start : start + 250]
            counts = engine.learn(data.train_pixels[chosen], chosen, epoch, rate[start : start + 250])
            if start >= SETTLED and counts.sum() > most_spikes * len(chosen):
                return False
    return True


def run(settings: Settings, data: Data, most_spikes: float = np.inf) -> dict[str, float]:
    """Return the figures of a network that learned from the images, was labelled by them, and was tested."""
    model = build_model(settings)
    engine = make_engine(model, initial_state(model), EngineOptions("event", threads=1))
    begun, bars = time.process_time(), Bars(visible=False)
    if not learn(engine, settings, data, most_spikes):
        return {"accuracy": 0.0, "spikes_per_image": np.nan, "images_per_second": np.nan, "graded": np.nan}
    seconds = time.process_time() - begun
    final = measure(engine, data, label(engine, data, settings, bars), bars)
    share = np.clip(engine.state().weight / model.rule_parameters.w_max, 0.0, 1.0)
    return {
        "accuracy": final.accuracy["all_activity"],
        "spikes_per_image": final.spikes_per_image,
        "images_per_second": len(data.train_pixels) * settings.epochs / seconds,
        "graded": float((4 * share * (1 - share)).mean()),
    }


# ------------------------------------------------------------------------------------------------------------------
# Tuning.


def bounds(rule: str) -> dict[str, tuple[float, float]]:
    """Return between what each constant of a rule is searched, by its key."""
    section = {"neuron": base(rule).neuron.name, "rule": rule, "encoder": "poisson"}
    found = {}
    for key, allowed in SEARCHED[rule].items():
        group, _, name = key.partition(".")
        if not isinstance(allowed, tuple):
            value = published(group, section[group])[name]
            allowed = (max(value / allowed, 1) if rule in INTEGERS else value / allowed, value * allowed)
        found[key] = tuple(rounded(rule, group, value) for value in allowed)
    return found


def rounded(rule: str, group: str, value: float) -> float:
    """Return a value as it stands in the table: bounds too, so that no value is rounded out of them."""
    value = float(f"{value:.3g}")
    return round(value) if rule in INTEGERS and group != "encoder" else value


def propose(rule: str, done: pd.DataFrame) -> dict[str, float]:
    """Return what the next trial of a rule is to try, which follows from the trials that are done."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of trials that are handed over
    of_key = {key: optuna.distributions.LogUniformDistribution(*ends) for key, ends in bounds(rule).items()}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=len(done)))
    for constants, accuracy in zip(done["constants"], done["accuracy"], strict=True):
        tried = {key: value for key, value in read_constants(constants).items() if key in of_key}
        study.add_trial(optuna.create_trial(params=tried, distributions=of_key, value=accuracy))
    asked = study.ask(of_key).params
    return {key: rounded(rule, key.partition(".")[0], value) for key, value in asked.items()}


def overrides(rule: str, asked: dict[str, float]) -> dict[str, float]:
    """Return the constants of a trial with those that follow from them."""
    if rule in INTEGERS:
        return asked | {"neuron.max_threshold": asked["rule.max_threshold"]}
    if rule == "power_law_pre_post":  # both rates in the proportion of the scripts
        return asked | {"rule.eta_pre": rounded(rule, "rule", asked["rule.eta_post"] / 100)}
    return asked


def read_constants(text: str) -> dict[str, float]:
    """Return the constants that a line of the table of trials has."""
    pairs = ((key, float(value)) for key, _, value in (word.partition("=") for word in text.split()))
    return {key: int(value) if value.is_integer() else value for key, value in pairs}  # integer rules insist on it


def tune(arguments: argparse.Namespace) -> None:
    """Do the trials that are not in the table."""
    data = images("validation", arguments.images)
    for rule in arguments.rules:
        for trial in range(len(trials_of(rule, arguments)), arguments.trials):
            asked = overrides(rule, propose(rule, trials_of(rule, arguments)))
            words = " ".join(f"{key}={value:g}" for key, value in asked.items())
            sizes = {"n_exc": TUNED_FOR, "n_label": min(LABEL_TRIAL, arguments.images)}
            begun = time.process_time()
            figures = run(base(rule).with_values(read_constants(words) | sizes), data, TOO_MANY)
            figures["cpu_seconds"] = time.process_time() - begun
            named = {"rule": rule, "images": arguments.images, "trial": trial, "constants": words}
            append(arguments.folder / TRIALS, OF_TRIAL, named | figures)
            print(f"{rule} {trial}: {figures['accuracy']:.2%}, {figures['cpu_seconds']:.1f} s", flush=True)


# ------------------------------------------------------------------------------------------------------------------
# The tables of trials and of runs.


def append(path: Path, columns: list[str], row: dict) -> None:
    """Add a line to a table, figures to four digits."""
    begins = not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([columns] if begins else [])
        writer.writerow([f"{row[name]:.4g}" if isinstance(row[name], float) else row[name] for name in columns])


def lines_of(rule: str, path: Path, columns: list[str], n_images: int) -> pd.DataFrame:
    """Return the lines of a table that are of a rule and of so many images to learn from."""
    found = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=columns)
    return found[(found["rule"] == rule) & (found["images"] == n_images)]


def trials_of(rule: str, arguments: argparse.Namespace) -> pd.DataFrame:
    """Return the trials of a rule that are done."""
    return lines_of(rule, arguments.folder / TRIALS, OF_TRIAL, arguments.images)


def best_of(rule: str, arguments: argparse.Namespace) -> pd.Series:
    """Return the best trial of a rule."""
    done = trials_of(rule, arguments)
    if done.empty:
        raise SystemExit(f"rules.py: no trial of {rule} with {arguments.images} images; rules.py tune makes some")
    return done.loc[done["accuracy"].idxmax()]


def runs_of(rule: str, arguments: argparse.Namespace) -> pd.DataFrame:
    """Return the runs of a rule with the constants that are its best by now."""
    runs = lines_of(rule, arguments.folder / RESULTS, OF_RUN, arguments.train_images)
    return runs[runs["trial"] == best_of(rule, arguments)["trial"]]


def measure_all(arguments: argparse.Namespace) -> None:
    """Do the runs that are not in the table."""
    data = images("test", arguments.train_images)
    every = [(epochs, n_exc) for epochs in arguments.epochs for n_exc in arguments.n_exc]
    for (epochs, n_exc), seed, rule in itertools.product(every, arguments.seeds, arguments.rules):
        place, best = {"n_exc": n_exc, "epochs": epochs, "seed": seed}, best_of(rule, arguments)
        if (runs_of(rule, arguments)[list(place)] == list(place.values())).all(axis=1).any():
            continue
        sizes = place | {"n_label": min(LABEL_RUN, arguments.train_images)}
        figures = run(base(rule).with_values(read_constants(best["constants"]) | sizes), data)
        named = {"rule": rule, "images": arguments.train_images, "trial": best["trial"]}
        append(arguments.folder / RESULTS, OF_RUN, named | place | figures)
        print(f"{rule}, {n_exc} neurons, {epochs} epochs, seed {seed}: {figures['accuracy']:.2%}", flush=True)


# ------------------------------------------------------------------------------------------------------------------
# What is shown of them.


def summary(arguments: argparse.Namespace) -> pd.DataFrame:
    """Return a line for each rule, size and number of epochs, over the seeds; the best rule in one epoch first."""
    runs = pd.concat([runs_of(rule, arguments) for rule in arguments.rules])
    shown = {name: (name, "mean") for name in ("accuracy", *SHOWN)} | {"sd": ("accuracy", "std")}
    lines = runs.groupby(["epochs", "n_exc", "rule"]).agg(**shown, seeds=("accuracy", "size"))
    lines[["accuracy", "sd"]] *= 100
    first = lines.loc[lines.index[0][0]].xs(runs["n_exc"].max())["accuracy"].sort_values(ascending=False)
    return lines.reset_index().sort_values("rule", key=lambda names: names.map(list(first.index).index), kind="stable")


def markdown(arguments: argparse.Namespace) -> str:
    """Return the table of conf/README.md."""
    lines = summary(arguments)
    places = sorted(set(zip(lines["epochs"], lines["n_exc"], strict=True)))
    heads = [f"{n_exc} neurons, {counted(int(epochs), 'epoch')}" for epochs, n_exc in places]
    heads = ["rule", *heads, "best trial", "images/s", "spikes an image", "graded"]
    table = [heads, ["---"] * len(heads)]
    for rule, of_rule in lines.groupby("rule", sort=False):
        rows = {(row.epochs, row.n_exc): row for row in of_rule.itertuples()}
        first = [row for (epochs, _), row in rows.items() if epochs == places[0][0]]
        cells = [*(accuracy(rows.get(place)) for place in places), f"{100 * best_of(rule, arguments)['accuracy']:.1f}"]
        cells += [" / ".join(f"{getattr(row, name):{form}}" for row in first) for name, form in SHOWN.items()]
        table.append([f"`{rule}`", *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def accuracy(row: Any) -> str:
    """Return the mean over seeds with their standard deviation, and how many where it is not three."""
    if row is None:
        return ""
    few = "" if row.seeds == 3 else f" ({counted(row.seeds, 'seed')})"
    return f"{row.accuracy:.1f}" + (f" ± {row.sd:.1f}" if row.seeds > 1 else "") + few


def plot(arguments: argparse.Namespace) -> bytes:
    """Return the picture of conf/README.md, as PNG: the accuracy of each run against its rule."""
    runs = pd.concat([runs_of(rule, arguments) for rule in arguments.rules])
    rules, colours = list(summary(arguments)["rule"].unique())[::-1], {100: BLUE, 400: VERMILION}
    figure, percent = new_figure(800, 90 + 34 * len(rules)), 100 * runs["accuracy"]
    axes = figure.subplots()
    for (n_exc, epochs), rows in runs.groupby(["n_exc", "epochs"]):
        places = [rules.index(rule) + (0.14 if epochs > 1 else -0.14) for rule in rows["rule"]]
        colour, name = colours.get(n_exc, GREY), f"{n_exc} neurons, {counted(epochs, 'epoch')}"
        axes.plot(percent[rows.index], places, "o", color=colour, mfc=colour if epochs > 1 else "white", label=name)
    axes.set_xlim(left=(least := percent.nlargest(-(-len(runs) * 99 // 100)).min() - 1))
    outside = ", ".join(f"{value:.1f}" for value in percent[percent < least])
    axes.set_yticks(range(len(rules)), rules)
    axes.grid(axis="x", color=GRID)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    describe(axes, "", f"accuracy of each run on the test set (%){outside and f'; to the left: {outside}'}", "")
    return to_png(figure)


def best_command(rule: str, arguments: argparse.Namespace) -> str:
    """Return what one types to run a rule with its best constants."""
    trainer = "" if rule in INTEGERS else " trainer.schedule=exponential"
    constants = best_of(rule, arguments)["constants"]
    return f"stdp-run rule={rule} tuned=none encoder.steps=150{trainer} {constants}"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = ("tune", "measure", "table", "plot", "best")
    parser.add_argument("steps", nargs="+", choices=steps, metavar="STEP", help=", ".join(steps))
    parser.add_argument("--rules", nargs="+", default=list(SEARCHED), choices=SEARCHED, metavar="RULE")
    parser.add_argument("--trials", type=int, default=60, metavar="N", help="of each rule (%(default)s)")
    parser.add_argument("--images", type=int, default=20000, metavar="N", help="learned from in a trial (%(default)s)")
    parser.add_argument("--train-images", type=int, default=60000, metavar="N", help="in a run (%(default)s)")
    parser.add_argument("--n-exc", nargs="+", type=int, default=[100, 400], metavar="N", help="neurons of runs")
    parser.add_argument("--epochs", nargs="+", type=int, default=[1, 3], metavar="N", help="of runs")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="of runs")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="of the tables (%(default)s)")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="that plot writes (%(default)s)")
    return parser.parse_args()


def main() -> None:
    """Do the steps that the command line names, in this order."""
    arguments = parse()
    if "tune" in arguments.steps:
        tune(arguments)
    if "measure" in arguments.steps:
        measure_all(arguments)
    if "table" in arguments.steps:
        print(markdown(arguments))
    if "plot" in arguments.steps:
        arguments.picture.write_bytes(plot(arguments))
    if "best" in arguments.steps:
        print("\n".join(best_command(rule, arguments) for rule in arguments.rules))


if __name__ == "__main__":
    main()
