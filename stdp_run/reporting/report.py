"""The report of a run: figures, plots and settings as one HTML file that needs neither scripts nor a network."""

import base64
import json
from datetime import timedelta
from pathlib import Path

from stdp_run.errors import UserError
from stdp_run.files import write_atomically


def write_report(directory: Path) -> None:
    """Write `report.html` from the result.json, config.yaml and plots of a run's directory.

    Missing plots and settings are left out.

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
    page.filters.update(percent=_percent, whole="{:,.0f}".format)
    pictures = [*directory.glob("*.png"), *directory.glob("first_layer/receptive_fields.png")]
    settings = directory / "config.yaml"
    text = page.get_template("report.html").render(
        result=result,
        wall_time=timedelta(seconds=round(result["wall_seconds"])),
        directory=directory.resolve(),
        plots={str(file.relative_to(directory).with_suffix("")): _encoded(file) for file in pictures},
        settings=settings.read_text(encoding="utf-8").strip() if settings.exists() else "",
    )
    write_atomically(directory / "report.html", text.encode())


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
