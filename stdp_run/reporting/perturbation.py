"""How accurate networks are under perturbations: tables, a CSV file and curves, from a folder of evaluations.

Evaluations of networks with the same settings but for the seed are one curve, and its spread is that over the seeds.
Those without a perturbation are where it begins.
"""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from stdp_run.errors import printable
from stdp_run.files import write_atomically
from stdp_run.reporting import plots
from stdp_run.reporting.comparison import LINE_WIDTH, aligned, as_csv, cut, others_in_text, six_digits, wrapped
from stdp_run.reporting.plots.perturbation import Curve, Panel
from stdp_run.reporting.plots.style import Figure
from stdp_run.reporting.runs import NAMES, DataFrame, Series, heading, measure_of, natural, settings_of_results

SECTION = "perturbation."
NAME, STRENGTH, TARGET = f"{SECTION}name", f"{SECTION}strength", f"{SECTION}_target_"
NONE = ""  # the name where there is no perturbation
FIGURES = ("mean", "std", "min", "max")


class Curves(NamedTuple):
    """Accuracy by network, perturbation and strength."""

    points: DataFrame  # network (its place), perturbation, strength (NaN: none), seeds, n_seeds, and FIGURES over seeds
    networks: tuple[str, ...]  # their names, by place
    perturbations: DataFrame  # by name, in order: axis, harmless (NaN: no strength is), chance
    measure: str  # what the accuracy was measured on
    evaluations: DataFrame  # all, also those without a result

    def of(self, perturbation: str) -> DataFrame:
        """Return the points of the networks that were evaluated under it, from none to the strongest."""
        points = self.points[self.points["perturbation"].isin((NONE, perturbation))]
        perturbed = points["network"][points["perturbation"] == perturbation]
        rises = not math.isnan(self.perturbations["harmless"][perturbation])
        return points[points["network"].isin(perturbed)].sort_values("strength", ascending=rises, na_position="first")


def find_curves(evaluations: DataFrame) -> Curves | None:
    """Return the curves of evaluations; None where none of them was made under a perturbation, or has a result yet."""
    from pandas import to_numeric

    if NAME not in evaluations:
        return None
    done = evaluations[evaluations["state"] == "finished"]
    perturbation, strength = _names_of_perturbations(done), to_numeric(done[STRENGTH], errors="coerce").astype(float)
    settings = [key for key in settings_of_results(evaluations) if not key.startswith(SECTION)]
    done = done.assign(perturbation=perturbation, strength=strength, number=done.groupby(settings, sort=False).ngroup())
    done = done[strength.notna() | (perturbation == NONE)]
    # Networks that were never perturbed have no curve.
    done = done[done["number"].isin(done["number"][done["perturbation"] != NONE])]
    if not len(done):
        return None
    names = _names_of_networks(done.drop_duplicates("number").set_index("number")[settings])
    points = _over_seeds(done.assign(network=done["number"].map({each: place for place, each in enumerate(names)})))
    found = done[done["perturbation"] != NONE].groupby("perturbation")[["axis", "harmless", "chance"]].first()
    return Curves(points, tuple(names.values()), found, measure_of(done), evaluations)


def _over_seeds(done: DataFrame) -> DataFrame:
    """Return the points of the curves; a seed that was evaluated more than once counts once, with the mean."""
    of_point = ["network", "perturbation", "strength"]
    by_seed = done.groupby([*of_point, "seed"], dropna=False)["accuracy"].mean().reset_index()
    points = by_seed.groupby(of_point, dropna=False)
    seeds = points["seed"].agg(seeds=lambda seeds: " ".join(sorted(seeds, key=natural)), n_seeds="count")
    return seeds.join(points["accuracy"].agg(list(FIGURES))).reset_index()


def _names_of_perturbations(evaluations: DataFrame) -> Series:
    """Return the name of each evaluation's perturbation, with all its constants but the strength."""
    names = evaluations[NAME].map(printable)
    for key in map(str, evaluations):
        if key.startswith(SECTION) and key not in (NAME, STRENGTH, TARGET):
            texts = printable(f", {key.removeprefix(SECTION)}=") + evaluations[key].map(printable)
            names = names + texts.where(evaluations[key] != "", "")
    return names


def _names_of_networks(settings: DataFrame) -> dict[int, str]:
    """Return what tells networks, a row of settings each, apart in few words, by the number of the row; in order."""
    keys: list[str] = []
    n_apart = 1
    for key in sorted(map(str, settings), key=lambda key: [*NAMES, "n_exc", key].index(key)):
        if len(settings[[*keys, key]].drop_duplicates()) > n_apart:
            keys.append(key)
            n_apart = len(settings[keys].drop_duplicates())
    keys = keys or [key for key in (NAMES[0], "n_exc") if key in settings]
    rows = zip(map(int, settings.index), settings[keys].to_dict("records"), strict=True)
    return {number: _name(row) for number, row in sorted(rows, key=lambda row: [*map(natural, row[1].values())])}


def _name(settings: Mapping) -> str:
    """Return "nearest_online, n_exc=400" for settings, of which those that are not there are left out."""
    there = {key: six_digits(text) for key, text in settings.items() if text not in ("", "null")}
    parts = [text if key in NAMES[:3] else f"{heading(key)}={text}" for key, text in there.items()]
    return printable(", ".join(parts) or ", ".join(f"{heading(key)}=none" for key in settings))


# ------------------------------------------------------------------------------------------------------------------
# For users.


def to_csv(curves: Curves) -> str:
    """Return a row for each network, perturbation and strength; accuracies are fractions of 1."""
    networks = dict(enumerate(curves.networks))
    columns = {figure: f"accuracy_{figure}" for figure in FIGURES} | {"std": "accuracy_sd"}
    table = curves.points.assign(
        network=curves.points["network"].map(networks),
        perturbation=curves.points["perturbation"].replace(NONE, "none"),
    )
    return as_csv(table.rename(columns=columns))


def to_text(curves: Curves, width: int | None = None) -> str:
    """Return a table for each perturbation, networks by strength, and the evaluations without a result."""
    width = width or shutil.get_terminal_size((LINE_WIDTH, 0)).columns
    what = f"{curves.measure[0].upper()}{curves.measure[1:]} in %, mean ± standard deviation over seeds."
    lines = wrapped(what, width)
    for perturbation, axis in curves.perturbations["axis"].items():
        lines += ["", *wrapped(f"perturbation={perturbation}: {printable(axis)}", width)]
        with_sd, plain = (aligned(_table(curves, str(perturbation), sd)) for sd in (True, False))
        lines += with_sd if max(map(len, with_sd)) <= width else plain
    return "\n".join([*lines, *others_in_text(curves.evaluations, width)])


def _table(curves: Curves, perturbation: str, sd: bool) -> dict[str, list[str]]:
    """Return the columns of a table, networks by strength, by their titles."""
    cells: dict[str, dict[int, str]] = {}
    points = curves.of(perturbation)
    for point in points.to_dict("records"):
        spread = f" ± {100 * point['std']:.1f}" if sd and point["n_seeds"] > 1 else ""
        strength = "none" if math.isnan(point["strength"]) else f"{point['strength']:g}"
        cells.setdefault(strength, {})[point["network"]] = f"{100 * point['mean']:.1f}{spread}"
    networks = sorted(points["network"].unique())
    names = {"": [cut(curves.networks[place], 60) for place in networks]}
    return names | {strength: [column.get(each, "") for each in networks] for strength, column in cells.items()}


def draw(curves: Curves) -> Figure:
    """Draw accuracy against strength, a panel for each perturbation and a line for each network."""
    panels = []
    for perturbation, details in curves.perturbations.to_dict("index").items():
        lines = {}
        for place in range(len(curves.networks)):
            points = curves.of(str(perturbation)).query("network == @place")
            figures = (points["strength"], 100 * points["mean"], 100 * points["std"].fillna(0))
            if len(points):
                lines[place] = Curve(*(figure.to_numpy() for figure in figures))
        at = None if math.isnan(details["harmless"]) else details["harmless"]
        panels.append(Panel(str(perturbation), printable(details["axis"]), at, 100 * details["chance"], lines))
    return plots.accuracy_under_perturbation(panels, curves.networks, curves.measure)


def write_files(curves: Curves, directory: Path) -> None:
    """Write perturbation.csv and perturbation.png; UserError: the folder cannot be written."""
    write_atomically(directory / "perturbation.csv", to_csv(curves).encode())
    write_atomically(directory / "perturbation.png", plots.to_png(draw(curves)))
