"""A run's report: its figures and plots as one HTML file that needs nothing else, neither scripts nor a network.

What it says and looks like stands in templates/report.html; here are the figures that fill it.
"""

import base64
import json
import struct
from functools import partial
from pathlib import Path

from stdp_run.errors import UserError
from stdp_run.files import write_atomically

# Rows of the table of figures while learning: more would not be read, and the file has them all.
MOST_ROWS = 25
METRICS = {
    "train/running_accuracy": ("running accuracy", ".2%"),
    "train/spikes_per_image": ("spikes per image", ".1f"),
    "train/silent_neurons": ("silent neurons", ","),
    "train/images_per_second": ("images per second", ",.0f"),
    "network/theta_mean": ("mean theta", ".4g"),
    "network/weight_mean": ("mean weight", ".4g"),
}


def write_report(directory: Path) -> None:
    """Write `report.html` from the result.json, config.yaml, metrics.jsonl and plots of a run's directory.

    What of the last three is missing is left out.

    Raises:
        UserError: result.json is missing or unreadable, or the report cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    path = directory / "result.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; a run writes it when it is complete") from error
    except ValueError as error:
        raise UserError(f"{path}: damaged: {error}") from error
    loader = PackageLoader("stdp_run.reporting")
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters.update(percent=_percent, duration=_duration, whole="{:,.0f}".format)
    settings = directory / "config.yaml"
    text = page.get_template("report.html").render(
        result=result,
        directory=directory.resolve(),
        png_of=partial(_png, directory),
        metrics=_metrics(directory / "metrics.jsonl"),
        settings=settings.read_text(encoding="utf-8").strip() if settings.exists() else "",
    )
    write_atomically(directory / "report.html", text.encode())


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{f'{hours} h ' * bool(hours)}{minutes} min {seconds} s"


def _png(directory: Path, name: str) -> dict | None:
    """Return the data and the size in pixels of a plot; None where it is not there."""
    path = directory / f"{name}.png"
    png = path.read_bytes() if path.exists() else b""
    if not png.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    width, height = struct.unpack(">II", png[16:24])
    return {"width": width, "height": height, "data": base64.b64encode(png).decode()}


def _metrics(path: Path) -> dict:
    """Return the headings and the rows, thinned, of a table of the metrics file, and how many rows the file has."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    rows = [row for row in rows if any(name in row for name in METRICS)]
    every = -(-len(rows) // MOST_ROWS)
    chosen = [row for position, row in enumerate(rows, 1) if position % every == 0 or position == len(rows)]
    return {
        "total": len(rows),
        "headings": ["images seen", *(heading for heading, _ in METRICS.values())],
        "rows": [
            [f"{row['images_seen']:,}"]
            + ["-" if row.get(name) is None else format(row[name], form) for name, (_, form) in METRICS.items()]
            for row in chosen
        ],
    }
