"""Records of a run: TensorBoard events, `metrics.jsonl`, and progress bars on the terminal."""

import io
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from tqdm.auto import tqdm  # shows widgets in a notebook

from stdp_run.errors import UserError
from stdp_run.files import write_atomically

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30
EVENTS_SUFFIX = ".stdp-run"  # ending of our event files; files of other programs are never removed


class Tracker:
    """Writes scalars to `metrics.jsonl` (a JSON object per line) and to TensorBoard, and plots to TensorBoard.

    The step of an entry is the number of images seen. A run that is resumed after `resumed_at` images replaces all
    entries from this number on. Every method raises UserError if a file cannot be written.
    """

    def __init__(self, directory: Path, resumed_at: int | None = None):
        from torch.utils.tensorboard import SummaryWriter

        self._directory, self._metrics = directory, directory / "metrics.jsonl"
        if resumed_at is not None:
            lines = self._metrics.read_bytes().splitlines(keepends=True) if self._metrics.exists() else []
            whole = [line for line in lines if line.endswith(b"\n")]  # the last one may be cut off
            try:
                kept = [line for line in whole if json.loads(line)["images_seen"] < resumed_at]
            except (ValueError, KeyError, TypeError):
                raise UserError(f"{self._metrics}: damaged; without this file the run can be resumed") from None
            write_atomically(self._metrics, b"".join(kept))
            # TensorBoard reads event files in order of their names, which begin with the time in seconds.
            while any(directory.glob(f"events.out.tfevents.{int(time.time())}.*")):
                time.sleep(0.05)
        self._hook, threading.excepthook = threading.excepthook, self._thread_failed
        with self._writing():
            self._events: Any = SummaryWriter(directory, purge_step=resumed_at, filename_suffix=EVENTS_SUFFIX)

    def scalars(self, images_seen: int, values: Mapping[str, float | None]) -> None:
        """Record `values` by name, such as "train/spikes_per_image"; TensorBoard skips None."""
        with self._writing():
            with open(self._metrics, "a", encoding="utf-8") as file:
                file.write(json.dumps({"images_seen": images_seen, **values}) + "\n")
            for name, value in values.items():
                if value is not None:
                    self._events.add_scalar(name, value, images_seen)

    def plot(self, images_seen: int, name: str, png: bytes) -> None:
        """Record a plot, given as the bytes of a PNG file, in TensorBoard."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        width, height = Image.open(io.BytesIO(png)).size
        image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)
        with self._writing():
            self._events.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=image)]), images_seen)

    def hyperparameters(self, settings: Mapping[str, Any], metrics: dict[str, float]) -> None:
        """Record scalar `settings` and the final `metrics` for TensorBoard's tab HParams, which compares runs."""
        from torch.utils.tensorboard.summary import hparams

        scalars = {k: v for k, v in settings.items() if isinstance(v, str | int | float) and not k.endswith("_target_")}
        with self._writing():
            for summary in hparams(scalars, metrics):  # `SummaryWriter.add_hparams` would create a second run
                self._events.file_writer.add_summary(summary)

    def save(self) -> None:
        """Flush all records to disk. Call it before a checkpoint, so that no record is missing after a resume."""
        with self._writing():
            with open(self._metrics, "a", encoding="utf-8") as file:
                os.fsync(file.fileno())
            self._events.flush()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f"{self._directory}: cannot be written: {error.strerror}; the last checkpoint is unharmed"
            raise UserError(message) from error

    def _thread_failed(self, failure: Any) -> None:
        """Suppress the traceback of SummaryWriter's thread; the next call raises its error."""
        if not type(failure.thread).__module__.startswith("tensorboard."):
            self._hook(failure)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            with self._writing() if kind is None else suppress(OSError):
                self._events.close()
        finally:
            threading.excepthook = self._hook


class Bar(tqdm):
    """A progress bar; if disabled, it logs a line at most every SECONDS_BETWEEN_LINES seconds."""

    title, remark, logged_at = "", "", 0.0

    def update(self, n: float | None = 1) -> bool | None:
        if self.disable:  # tqdm does not count for a disabled bar
            self.n += n or 0
            if time.monotonic() - self.logged_at >= SECONDS_BETWEEN_LINES:
                log.info("%s: %d of %d%s%s", self.title, self.n, self.total, self.unit, self.remark)
                self.logged_at = time.monotonic()
        return super().update(n)

    def show(self, remark: str) -> None:
        self.remark = f", {remark}"
        self.set_postfix_str(remark)


class Bars:
    """Makes progress bars, or log lines in their place; `visible=None` shows bars on a terminal only."""

    def __init__(self, visible: bool | None):
        self._disable = None if visible is None else not visible
        Bar.set_lock(threading.RLock())  # tqdm's own lock is shared between processes and survives a killed one

    def open(self, title: str, total: int, done: int = 0, unit: str = " images") -> Bar:
        """Return a progress bar over `total` images that starts at `done`; it is a context that closes itself."""
        look = {"unit": unit, "unit_scale": True, "dynamic_ncols": True}
        bar = Bar(desc=title, total=total, initial=done, disable=self._disable, **look)
        bar.title, bar.unit, bar.logged_at = title, unit, time.monotonic()
        return bar
