"""A run's report: its figures and pictures as one HTML file that needs nothing else, neither scripts nor a network."""

import base64
import json
import struct
from collections.abc import Iterable
from html import escape
from pathlib import Path

from stdp_run.errors import UserError
from stdp_run.files import write_atomically

# Name of the PNG file: heading, what one sees for those who cannot (alt), caption.
PICTURES = {
    "receptive_fields": (
        "Receptive fields",
        "A grid with one small picture for each excitatory neuron, of its input weights.",
        "Each tile shows the weights from all pixels to one excitatory neuron, so it shows what the neuron answers to. "
        "The name in a tile's corner is the class that the neuron stands for; a tile without a structure has learned "
        "nothing yet.",
    ),
    "accuracy": (
        "Accuracy while learning",
        "A curve of the accuracy in percent over the number of training images seen.",
        "The line is the accuracy on the images being learned, with labels from images seen before; diamonds are "
        "evaluations with learning off. A line that still rises says that more images would help; one that falls, that "
        "the network forgets.",
    ),
    "confusion": (
        "Confusion matrix",
        "A matrix with a row for each true class and a column for each predicted class; cells count images.",
        "Each row holds the images of one class, by the class they were taken for: right answers lie on the diagonal. "
        "Dark cells beside it are the classes that get mixed up.",
    ),
    "neurons_per_class": (
        "Neurons per class",
        "Bars with the number of neurons that stand for each class.",
        "How many neurons stand for each class. Silent neurons never fired for a training image and so stand for none.",
    ),
    "weight_change": (
        "Weight change",
        "A grid with one small picture for each excitatory neuron, of how its input weights have changed.",
        "How each neuron's weights changed between the numbers of images in the title: red grew, blue shrank. Pale "
        "tiles have settled.",
    ),
    "theta": (
        "Adaptive thresholds",
        "A histogram of the adaptive part of the neurons' thresholds.",
        "A neuron's threshold grows with each of its spikes, so that no neuron wins every image. Values far to the "
        "right belong to neurons that fire often, those at the left edge to neurons that hardly ever did.",
    ),
    "weights": (
        "Weights",
        "A histogram of all weights from inputs to excitatory neurons, counts on a logarithmic scale.",
        "How often each weight occurs, on a logarithmic scale. After learning most weights are near zero and the rest "
        "form the receptive fields.",
    ),
    "raster": (
        "Spikes",
        "Marks for the spikes of input, excitatory and inhibitory neurons over time, a column for each image.",
        "Every spike while a few images are shown with learning off. Input neurons fire the more the brighter their "
        "pixel is; a neuron that fires makes its inhibitory partner silence the others, so few rows have marks.",
    ),
}

STYLE = """
:root { color-scheme: light dark; --text: #1d1d1f; --soft: #5a5a62; --page: #fff; --line: #d9d9de; --panel: #f5f5f7;
  --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --text: #ececf0; --soft: #a9a9b3; --page: #17171a; --line: #3a3a41;
  --panel: #222226; --accent: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 3rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0; font-size: 1.05rem; font-weight: 600; color: var(--soft); overflow-wrap: anywhere; }
.accuracy { margin: 0.2rem 0 0; font-size: 3.2rem; line-height: 1.1; font-weight: 700; color: var(--accent); }
.lead { margin: 0.3rem 0 0; font-size: 1.1rem; }
h2 { margin: 2.5rem 0 0.7rem; font-size: 1.35rem; border-bottom: 1px solid var(--line); padding-bottom: 0.3rem; }
h3 { margin: 0 0 0.4rem; font-size: 1.1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 1.2rem 0.3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; color: var(--soft); vertical-align: bottom; }
tbody th { font-weight: 400; color: var(--soft); }
td { overflow-wrap: anywhere; }
.number { text-align: right; overflow-wrap: normal; white-space: nowrap; }
thead .number { white-space: normal; }
.bar { width: 40%; min-width: 6rem; padding-right: 0; vertical-align: middle; }
.bar span { display: block; height: 0.8rem; background: var(--accent); border-radius: 2px; print-color-adjust: exact;
  -webkit-print-color-adjust: exact; }
.wide { width: 100%; }
figure { margin: 0 0 2.2rem; }
figure img { display: block; width: auto; max-width: 100%; height: auto; background: #fff; padding: 0.5rem;
  border: 1px solid var(--line); border-radius: 6px; }
figcaption { margin-top: 0.5rem; max-width: 46rem; color: var(--soft); }
details { margin: 0.7rem 0; }
summary { cursor: pointer; color: var(--accent); }
pre { overflow-x: auto; padding: 0.8rem; background: var(--panel); border: 1px solid var(--line); border-radius: 6px;
  font-size: 0.85rem; line-height: 1.4; }
footer { margin-top: 3rem; color: var(--soft); font-size: 0.9rem; }
@media print { :root { --text: #000; --soft: #333; --page: #fff; --line: #bbb; --panel: #fff; --accent: #0072b2; }
  body { max-width: none; padding: 0; font-size: 10pt; } figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; } figure img { max-height: 22cm; } pre { white-space: pre-wrap; } }
"""

# Rows of the table of figures while learning: more would not be read, and the file has them all.
MOST_ROWS = 25
METRICS = {
    "train/running_accuracy": ("running accuracy", lambda value: _percent(value)),
    "train/spikes_per_image": ("spikes per image", lambda value: f"{value:.1f}"),
    "train/silent_neurons": ("silent neurons", lambda value: f"{value:,}"),
    "train/images_per_second": ("images per second", lambda value: f"{value:,.0f}"),
    "network/theta_mean": ("mean theta", lambda value: f"{value:.4g}"),
    "network/weight_mean": ("mean weight", lambda value: f"{value:.4g}"),
}


def write_report(directory: Path) -> None:
    """Write `report.html` from the result.json, config.yaml, metrics.jsonl and pictures of a run's directory.

    What of the last three is missing is left out.

    Raises:
        UserError: result.json is missing or unreadable, or the report cannot be written.
    """
    path = directory / "result.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; a run writes it when it is complete") from error
    except ValueError as error:
        raise UserError(f"{path}: damaged: {error}") from error
    write_atomically(directory / "report.html", _page(directory, result).encode())


def _page(directory: Path, result: dict) -> str:
    title = f"{result['rule']}, {result['n_exc']:,} neurons, {result['dataset']}"
    sections = [
        _section("Results", _table(_figures(result))),
        _section("Accuracy per class", _per_class(result)),
        _section("Pictures", "\n".join(_pictures(directory))),
        _section("While learning", _while_learning(directory / "metrics.jsonl")),
        _section("Settings", _settings(directory / "config.yaml")),
    ]
    body = "\n".join(section for section in sections if section)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{_headline(result)}
</header>
<main>
{body}
</main>
<footer>
<p>Written by stdp-run {escape(str(result["versions"].get("stdp-run", "")))} in
<code>{escape(str(directory.resolve()))}</code></p>
</footer>
</body>
</html>
"""


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{escape(heading)}</h2>\n{content}\n</section>" if content else ""


def _headline(result: dict) -> str:
    readout = result["readout"]
    low, high = result["accuracy_interval_95"][readout]
    return (
        f'<p class="accuracy">{_percent(result["test_accuracy"])}</p>\n'
        f'<p class="lead">accuracy on {result["test_images"]:,} {escape(result["split"])} images '
        f"(95% interval {_percent(low)} to {_percent(high)}), readout {escape(readout)}</p>"
    )


def _figures(result: dict) -> list[tuple[str, str]]:
    """Return (what, value) of the table of figures."""
    rows = [
        ("learning rule", result["rule"]),
        ("neuron group", result["neuron"]),
        ("dataset", f"{result['dataset']}, {result['split']} images"),
        ("excitatory neurons", f"{result['n_exc']:,}"),
        ("passes", f"{result['epochs']} over {result['train_images']:,} training images"),
        ("seed", str(result["seed"])),
        ("engine", f"{result['engine']} on {result['device']}, {result['dtype']}, batch size {result['batch_size']}"),
    ]
    for name, accuracy in result["accuracy"].items():
        low, high = result["accuracy_interval_95"][name]
        rows.append((f"accuracy, {name}", f"{_percent(accuracy)} (95% interval {_percent(low)} to {_percent(high)})"))
    rows.append(("images per second", _speed(result)))
    rows.append(("silent neurons", f"{result['silent_neurons']:,} of {result['n_exc']:,}"))
    rows.append(("wall time", _duration(result["wall_seconds"])))
    rows.append(("commit", result["commit"] or "not from a checkout"))
    rows.append(("versions", ", ".join(f"{name} {version}" for name, version in result["versions"].items())))
    return rows


def _speed(result: dict) -> str:
    learning, evaluating = result.get("train_images_per_second"), result["eval_images_per_second"]
    return ("" if learning is None else f"{learning:,.0f} learning, ") + f"{evaluating:,.0f} evaluating"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours} h " if hours else "") + f"{minutes} min {seconds} s"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    lines = (f'<tr><th scope="row">{escape(what)}</th><td>{escape(str(value))}</td></tr>' for what, value in rows)
    return '<div class="scroll"><table class="wide"><tbody>\n' + "\n".join(lines) + "\n</tbody></table></div>"


def _per_class(result: dict) -> str:
    readout = result["readout"]
    shares = result["accuracy_per_class"][readout]
    images = [sum(row) for row in result["confusion"][readout]]
    rows = []
    for (name, share), count in zip(shares.items(), images, strict=True):
        bar = f'<span style="width: {100 * (share or 0):.1f}%"></span>'
        rows.append(
            f'<tr><th scope="row">{escape(str(name))}</th><td class="number">{count:,}</td>'
            f'<td class="number">{_percent(share)}</td><td class="bar" aria-hidden="true">{bar}</td></tr>'
        )
    head = '<th scope="col">class</th><th scope="col" class="number">images</th>'
    head += f'<th scope="col" class="number">accuracy, {escape(readout)}</th><td class="bar" aria-hidden="true"></td>'
    return _rows(head, rows)


def _rows(head: str, rows: list[str]) -> str:
    return (
        f'<div class="scroll"><table class="wide"><thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


def _pictures(directory: Path) -> list[str]:
    found = []
    for name, (heading, seen, caption) in PICTURES.items():
        path = directory / f"{name}.png"
        png = path.read_bytes() if path.exists() else b""
        if not png.startswith(b"\x89PNG\r\n\x1a\n"):
            continue
        width, height = struct.unpack(">II", png[16:24])
        found.append(
            f"<figure>\n<h3>{escape(heading)}</h3>\n"
            f'<img width="{width}" height="{height}" alt="{escape(seen)}" '
            f'src="data:image/png;base64,{base64.b64encode(png).decode()}">\n'
            f"<figcaption>{escape(caption)}</figcaption>\n</figure>"
        )
    return found


def _while_learning(path: Path) -> str:
    """Return a collapsed table of the rows of metrics, thinned."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    rows = [row for row in rows if any(name in row for name in METRICS)]
    if not rows:
        return ""
    every = -(-len(rows) // MOST_ROWS)
    shown = [row for position, row in enumerate(rows, 1) if position % every == 0 or position == len(rows)]
    head = '<th scope="col" class="number">images seen</th>'
    head += "".join(f'<th scope="col" class="number">{escape(heading)}</th>' for heading, _ in METRICS.values())
    summary = f"{len(shown)} of {len(rows)} rows of metrics.jsonl"
    return f"<details>\n<summary>{summary}</summary>\n{_rows(head, [_metrics_row(row) for row in shown])}\n</details>"


def _metrics_row(row: dict) -> str:
    cells = f'<th scope="row" class="number">{row["images_seen"]:,}</th>'
    for name, (_, written) in METRICS.items():
        value = row.get(name)
        cells += f'<td class="number">{"-" if value is None else escape(written(value))}</td>'
    return f"<tr>{cells}</tr>"


def _settings(path: Path) -> str:
    if not path.exists():
        return ""
    text = escape(path.read_text(encoding="utf-8").strip())
    return f"<details>\n<summary>All settings, config.yaml</summary>\n<pre>{text}</pre>\n</details>"
