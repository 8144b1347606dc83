"""What a run leaves to look at: TensorBoard events, a metrics file beside them, and a progress bar on the terminal."""

import json
import logging
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger(__name__)


class Tracker:
    """Writes scalars to `metrics.jsonl` (a JSON object per line) and, with the pictures, to TensorBoard events.

    The step of every entry is the number of images learned from so far, over all passes.
    """

    def __init__(self, directory: Path):
        from torch.utils.tensorboard import SummaryWriter

        self._metrics = open(directory / "metrics.jsonl", "a", encoding="utf-8")  # noqa: SIM115  closed by close()
        self._board = SummaryWriter(str(directory))

    def scalars(self, images_seen: int, values: dict[str, float | None]) -> None:
        """Record `values` by name, such as "train/spikes_per_image"; None is left out of TensorBoard."""
        self._metrics.write(json.dumps({"images_seen": images_seen, **values}) + "\n")
        self._metrics.flush()
        for name, value in values.items():
            if value is not None:
                self._board.add_scalar(name, value, images_seen)

    def picture(self, images_seen: int, name: str, pixels: np.ndarray) -> None:
        """Record an image, uint8 [H, W, 3]."""
        self._board.add_image(name, pixels, images_seen, dataformats="HWC")

    def flush(self) -> None:
        """Hand everything recorded to the operating system, where TensorBoard sees it."""
        self._metrics.flush()
        self._board.flush()

    def close(self) -> None:
        """Flush and close the files."""
        self._board.close()
        self._metrics.close()

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def progress_bar(total: int, what: str, shown: bool = True) -> tqdm:
    """Return a progress bar over `total` images; silent where standard error is no terminal, or if not `shown`."""
    return tqdm(
        total=total, desc=what, unit=" images", unit_scale=True, disable=None if shown else True, dynamic_ncols=True
    )


def log_above_bars():
    """Return a context in which log lines appear above a progress bar instead of breaking it."""
    return logging_redirect_tqdm()
