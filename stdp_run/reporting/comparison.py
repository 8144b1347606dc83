"""Compares the runs and evaluations in a folder: a table, CSV files, and plots of accuracy over seeds.

Accuracies are in % for users, and fractions of 1 in `comparison.csv` and `runs.csv`.
"""

from collections.abc import Sequence
from math import inf, isnan, nan
from pathlib import Path
from typing import NamedTuple

from stdp_run.errors import printable
from stdp_run.files import csv_cell, write_atomically
from stdp_run.reporting import plots
from stdp_run.reporting.plots.comparison import MOST_ROWS
from stdp_run.reporting.plots.style import Figure, counted
from stdp_run.reporting.runs import (
    ALWAYS_NAMED,
    CHOSEN_BY,
    COSTS,
    INTERVAL,
    DataFrame,
    Series,
    find_runs,
    running_accuracy,
    settings_of,
)

MOST_LINES = 8
PERTURBATION, STRENGTH = "perturbation", "perturbation.strength"
NETWORK = [name for name in CHOSEN_BY.values() if name != PERTURBATION]
SIZES = ("dataset.split", "n_train", "n_test")  # without them, a short run reads as a complete one
OVER_SEEDS = {"mean": "mean", "sd": "std", "min": "min", "max": "max"}
TITLES = ("accuracy", "sd", "min", "max", "95% from", "95% to")  # of columns in %


class Comparison(NamedTuple):
    """Runs grouped by their settings, except for the seed."""

    runs: DataFrame  # from `find_runs`
    groups: DataFrame  # a row for each group of finished runs, highest mean accuracy first
    keys: list[str]  # the settings that differ between groups
    measure: str  # such as "test accuracy"; "accuracy" if the split differs


def compare(runs: DataFrame) -> Comparison:
    """Return finished runs grouped by all settings but the seed. Repeated runs of a seed count once, by their mean.

    Constants that differ only because the rule, the neuron group or the dataset does are not among the `keys`.
    """
    done = runs[runs["state"] == "finished"]
    differing = [key for key in settings_of(runs) if done[key].nunique() > 1]
    group_by = list(dict.fromkeys([*ALWAYS_NAMED, *differing]))
    keys = [key for key in group_by if key in differing]
    for key in [key for key in keys if key not in ALWAYS_NAMED and "." in key]:
        chosen_by = [PERTURBATION] if key.startswith(f"{PERTURBATION}.") else NETWORK
        if done.groupby(chosen_by)[key].nunique().max() == 1:
            keys.remove(key)
    measured = [key for key in map(str, runs) if key.startswith("accuracy")]
    numbers = [*measured, "supervised", *INTERVAL, *COSTS]
    seeds = done.groupby([*group_by, "strength_label", "seed"], sort=False)[numbers].mean().reset_index()
    figures = {f"{name}_{title}": (name, how) for name in measured for title, how in OVER_SEEDS.items()}
    groups = seeds.groupby(group_by, sort=False).agg(
        n_seeds=("seed", "size"),
        seeds=("seed", lambda seeds: " ".join(sorted(seeds, key=lambda seed: (len(seed), seed)))),
        accuracies=("accuracy", list),
        strength_label=("strength_label", "first"),
        **figures,
        **{name: (name, "mean") for name in ("supervised", *INTERVAL, *COSTS)},
    )
    groups = groups.reset_index().sort_values("accuracy_mean", ascending=False, kind="stable", ignore_index=True)
    groups[[*INTERVAL]] = groups[[*INTERVAL]].where(groups["n_seeds"] == 1)
    splits = done["dataset.split"].unique()
    return Comparison(runs, groups, keys, f"{splits[0]} accuracy" if len(splits) == 1 else "accuracy")


def compare_folder(directory: Path) -> None:
    """Print the comparison of the runs in a folder, then write its files; raise UserError as those do."""
    comparison = compare(find_runs(directory))
    print(to_text(comparison))
    write_files(comparison, directory)


def write_files(comparison: Comparison, directory: Path) -> None:
    """Write comparison.csv, runs.csv, comparison.md and the plots that have data; raise UserError if that fails."""
    groups = comparison.groups
    for name, table in (("comparison.csv", groups.drop(columns="accuracies")), ("runs.csv", comparison.runs)):
        cells = table.map(lambda cell: csv_cell(cell) if isinstance(cell, str) else cell).rename(columns=csv_cell)
        write_atomically(directory / name, cells.to_csv(index=False, lineterminator="\n").encode())
    page = f"# Comparison\n\n```text\n{to_text(comparison)}\n```\n"
    write_atomically(directory / "comparison.md", page.encode())
    if len(groups):
        write_atomically(directory / "comparison.png", plots.to_png(draw(comparison)))
    if figure := draw_running(comparison):
        write_atomically(directory / "running_accuracy.png", plots.to_png(figure))


def to_text(comparison: Comparison) -> str:
    """Return the settings that all runs share, a table of the best groups, and the runs without a result."""
    runs, groups, keys, measure = comparison
    lines = ["No run is finished yet."]
    if len(groups):
        counts = f"{counted(sum(runs['state'] == 'finished'), 'run')}, {counted(len(groups), 'setting')}"
        lines = [f"{counts}, best first: {measure} in %, mean and standard deviation (sd) over seeds."]
        lines += [f"The same in all: {_common(groups, keys)}.", "", *_table(groups.head(MOST_ROWS), keys)]
        if len(groups) > MOST_ROWS:
            lines.append(f"The best {MOST_ROWS} of {len(groups)} settings; comparison.csv has all.")
    for state in ("failed", "unfinished"):
        others = runs[runs["state"] == state]
        if len(others):
            named = [f"  {name}: {why}" for name, why in zip(others["directory"], others["reason"], strict=True)]
            lines += ["", f"{state.capitalize()} ({len(others)}):", *named]
    return "\n".join(map(printable, lines))


def _common(groups: DataFrame, keys: Sequence[str]) -> str:
    """Return "key=value, key=value" of the settings that all groups share."""
    common = {key: groups[key][0] for key in ALWAYS_NAMED if key not in keys}
    return ", ".join(f"{key}={value}" for key, value in common.items() if value not in ("", "train", "none"))


def _table(groups: DataFrame, keys: Sequence[str]) -> list[str]:
    """Return the lines of a table without empty columns."""
    rate = groups["train_images_per_second"].fillna(groups["eval_images_per_second"])
    names = (*(f"accuracy_{name}" for name in OVER_SEEDS), *INTERVAL)
    columns = {title: (100 * groups[name], ".2f") for title, name in zip(TITLES, names, strict=True)}
    columns |= {"supervised": (100 * groups["supervised"], ".2f"), "images/s": (rate, ",.0f")}
    columns |= {"wall (s)": (groups["wall_seconds"], ",.1f")}
    columns |= {"operations": (groups["accumulates_per_image"], ",.0f")}
    table = groups[list(keys)].map(_shown).assign(seeds=groups["seeds"].str.replace(" ", ","))
    for title, (numbers, form) in columns.items():
        table[title] = ["" if isnan(number) else format(number, form) for number in numbers]
    table.loc[groups["n_seeds"] == 1, ["min", "max"]] = ""
    table = table.loc[:, (table != "").any()]
    return table.rename(columns=lambda title: f" {title}").to_string(index=False).splitlines()


def _shown(text: str) -> str:
    """Return a setting with at most six digits."""
    try:
        return f"{float(text):.6g}" if "." in text else text
    except ValueError:
        return text


def draw(comparison: Comparison) -> Figure:
    """Draw accuracy of finished runs against the strength of perturbations, or a number that differs; else rows."""
    _, groups, keys, measure = comparison
    mean, sd, (low, high) = groups["accuracy_mean"], groups["accuracy_sd"], (groups[name] for name in INTERVAL)
    points = groups[[PERTURBATION]].assign(
        mean=100 * mean,
        below=100 * sd.fillna(mean - low).fillna(0).clip(lower=0),
        above=100 * sd.fillna(high - mean).fillna(0).clip(lower=0),
        seeds=groups["accuracies"].map(lambda values: [100 * value for value in values]),
    )
    is_perturbed = STRENGTH in keys and bool(_numbers(groups[STRENGTH]).notna().any())
    across = STRENGTH if is_perturbed else _swept_number(groups, keys)
    axis, common = f"{measure} (%)", printable(_common(groups, keys))
    if across is None:
        named = keys if len(keys) < 8 else _distinguishing(groups, keys)  # a row has room for seven or so
        return plots.accuracy_rows(points.assign(name=_names(groups, named)), axis, common)
    not_of_lines = (STRENGTH, PERTURBATION, "mode") if is_perturbed else (across,)
    others = _distinguishing(groups, [key for key in keys if key not in not_of_lines])
    points = points.assign(x=_numbers(groups[across]), name=_names(groups, others))
    return plots.accuracy_lines(
        points.assign(x_label=groups["strength_label"] if is_perturbed else across), axis, common
    )


def draw_running(comparison: Comparison) -> Figure | None:
    """Draw the running accuracy of training runs, a line for each of the best settings; None if no run recorded it.

    Runs of one setting are compared over the images that all of them have seen, with linear interpolation.
    """
    from pandas import concat

    runs, groups, keys, _ = comparison
    done = runs[runs["state"] == "finished"]
    curves: dict[int, DataFrame] = {}
    for number in range(len(groups)):
        is_member = (done[keys] == groups.loc[number, keys]).all(axis=1)
        seeds = done.loc[is_member, "seed"].to_dict()  # by path
        recorded = [running_accuracy(Path(str(path))).rename(seed) for path, seed in seeds.items()]
        recorded = [curve for curve in recorded if len(curve)]
        if recorded:
            table = concat(recorded, axis=1).sort_index().interpolate("index", limit_area="inside").dropna()
            by_seed = 100 * table.T.groupby(level=0).mean()  # repeated runs of a seed count once
            if len(table):
                curves[number] = by_seed.agg(["mean", "min", "max"]).T
    if not curves:
        return None
    drawn = groups.loc[[*curves]]
    names = _names(drawn, _distinguishing(drawn, keys))
    return plots.running_accuracy(names, [*curves.values()], printable(_common(groups, keys)))


def _numbers(texts: Series) -> Series:
    """Return numbers, NaN for a text that is not a finite number."""
    from pandas import to_numeric

    return to_numeric(texts, errors="coerce").replace([inf, -inf], nan)


def _swept_number(groups: DataFrame, keys: Sequence[str]) -> str | None:
    """Return the setting that is a number in all groups and leaves the fewest lines; None if lines were too short."""
    found = []
    for key in keys:
        others = [other for other in keys if other != key]
        n_lines = len(groups[others].drop_duplicates()) if others else 1
        if _numbers(groups[key]).notna().all() and n_lines <= MOST_LINES and 2 * len(groups) >= 3 * n_lines:
            found.append((n_lines, -groups[key].nunique(), key))
    return min(found)[2] if found else None


def _distinguishing(groups: DataFrame, keys: Sequence[str]) -> list[str]:
    """Return as few of the first keys as tell all groups apart that differ in any key, and all of `SIZES`."""
    found: list[str] = []
    n_apart = 1
    for key in keys:
        n_groups = len(groups[[*found, key]].drop_duplicates())
        if n_groups > n_apart or key in SIZES:
            found, n_apart = [*found, key], n_groups
    return found


def _names(groups: DataFrame, keys: Sequence[str]) -> list[str]:
    """Return "key=value, key=value" for each group."""
    rows = groups[list(keys) or ["rule"]].map(_shown).to_dict("records")
    return [printable(", ".join(f"{key}={value or 'not set'}" for key, value in row.items())) for row in rows]
