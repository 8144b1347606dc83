"""The result of a training run or an evaluation, for use from Python."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from stdp_run.errors import UserError
from stdp_run.files import read_record, read_regular
from stdp_run.inference.load import CHECKPOINT, TrainedNetwork, load
from stdp_run.reporting.runs import DataFrame
from stdp_run.training.result import summary_table


class Result:
    """The result of a finished run or evaluation, from its directory; `stdp_run.run` returns one.

    `figures` is the content of result.json. `accuracy` is the share of correct answers by readout. `readout` is the
    judged readout.

    Raises:
        UserError: there is no finished run in the directory.
    """

    def __init__(self, directory: str | Path):
        self.directory = Path(directory)
        try:
            self.figures: dict[str, Any] = json.loads(read_regular(self.directory / "result.json"))
        except (OSError, ValueError):
            raise UserError(f"{directory}: must be the directory of a finished run or evaluation") from None
        self.readout: str = self.figures["readout"]
        self.accuracy: dict[str, float] = self.figures["accuracy"]

    def __repr__(self) -> str:
        return summary_table(self.figures, self.directory)

    @property
    def confusion(self) -> dict[str, np.ndarray]:
        """The number of images by readout, true class and answer, int64 [C, C + 1]; the last column is no answer."""
        return {name: np.array(rows) for name, rows in self.figures["confusion"].items()}

    @property
    def paths(self) -> dict[str, Path]:
        """The files of the run by name, such as "checkpoint.pt", "report.html" or "raster.png"."""
        return {path.name: path for path in sorted(self.directory.iterdir()) if path.is_file() and path.name[0] != "."}

    @cached_property
    def metrics(self) -> DataFrame:
        """The content of metrics.jsonl, with a row for every `trainer.log_every` images and for each evaluation."""
        from pandas import DataFrame

        file = self.directory / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return DataFrame([json.loads(line) for line in lines])

    @cached_property
    def network(self) -> TrainedNetwork:
        """The trained network; errors as in `stdp_run.load`."""
        evaluated = read_record(self.directory / "config.yaml").get("checkpoint")
        return load(evaluated or self.directory / CHECKPOINT)

    @property
    def receptive_fields(self) -> np.ndarray:
        """The weights of each neuron as an image, [E, H, W]; a second layer is drawn through the first."""
        return self.network.receptive_fields
