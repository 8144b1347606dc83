"""The report of a run: figures, plots and settings as one HTML file that needs neither scripts nor a network."""

import base64
import json
from datetime import timedelta
from pathlib import Path

from stdp_run.errors import UserError, printable
from stdp_run.files import write_atomically


def write_report(directory: Path) -> None:
    """Write `report.html` from a run's result.json, config.yaml and plots; raise UserError if that fails."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    path = directory / "result.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: must be the intact result of a complete run: {error}") from error
    loader = PackageLoader("stdp_run.reporting")
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page.filters["percent"] = lambda share: "-" if share is None else f"{share:.2%}"
    page.filters["whole"] = "{:,.0f}".format
    files = [*directory.glob("*.png"), *directory.glob("first_layer/receptive_fields.png")]
    plots = {str(file.relative_to(directory).with_suffix("")): base64.b64encode(file.read_bytes()) for file in files}
    settings = directory / "config.yaml"
    text = page.get_template("report.html").render(
        result=result,
        wall_time=timedelta(seconds=round(result["wall_seconds"])),
        directory=directory.resolve(),
        plots={name: data.decode() for name, data in plots.items()},
        settings=settings.read_text(encoding="utf-8").strip() if settings.exists() else "",
    )
    lines = (line if line.isprintable() else printable(line) for line in text.split("\n"))
    write_atomically(directory / "report.html", "\n".join(lines).encode())
