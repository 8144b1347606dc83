"""What a run leaves to look at: TensorBoard events, a metrics file beside them, and progress bars on the terminal."""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from tqdm.auto import tqdm  # in a notebook the bars are its widgets

from stdp_run.errors import UserError
from stdp_run.files import write_atomically

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30
EVENTS_SUFFIX = ".stdp-run"  # of the name of an event file: no other program's ends so


class EventFile:
    """A TensorBoard event file.

    What fails is raised where it is written; SummaryWriter has a thread for it, which prints a traceback of its own.
    """

    def __init__(self, directory: Path, resumed_at: int | None):
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        name = f"events.out.tfevents.{int(time.time()):010}.{socket.gethostname()}.{os.getpid()}{EVENTS_SUFFIX}"
        self._file = open(directory / name, "wb")  # noqa: SIM115  closed by close()
        self._records = RecordWriter(self._file)
        self._lock = threading.Lock()  # plots come from a thread
        self.add(file_version="brain.Event:2")
        if resumed_at is not None:
            self.add(step=resumed_at, session_log=SessionLog(status=SessionLog.START))
        self.flush()

    def add(self, **content: Any) -> None:
        """Add an event with the fields of tensorboard.compat.proto.event_pb2.Event."""
        from tensorboard.compat.proto.event_pb2 import Event

        with self._lock:
            self._records.write(Event(wall_time=time.time(), **content).SerializeToString())

    def add_values(self, images_seen: int, *values: dict[str, Any]) -> None:
        """Add a summary of values, each with the fields of tensorboard.compat.proto.summary_pb2.Summary.Value."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        self.add(step=images_seen, summary=Summary(value=[Summary.Value(**value) for value in values]))

    def flush(self) -> None:
        """Hand everything to the system."""
        with self._lock:
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Tracker:
    """Writes scalars to `metrics.jsonl` (a JSON object per line) and, with the plots, to TensorBoard events.

    The step of every entry is the number of images learned from so far, over all epochs. A run that is resumed after
    `resumed_at` images replaces the entries from there on; TensorBoard leaves the replaced ones out of its curves.

    Every method raises UserError where a file cannot be written.
    """

    def __init__(self, directory: Path, resumed_at: int | None = None):
        path = directory / "metrics.jsonl"
        if resumed_at is not None:
            write_atomically(path, _rows_before(path, resumed_at))
            # TensorBoard reads event files in the order of their names, which say only in which second they began.
            while any(directory.glob(f"events.out.tfevents.{int(time.time()):010}.*")):
                time.sleep(0.05)
        self._directory = directory
        with self._writing():
            self._metrics = open(path, "a", encoding="utf-8")  # noqa: SIM115  closed by close()
            self._events = EventFile(directory, resumed_at)

    def scalars(self, images_seen: int, values: Mapping[str, float | None]) -> None:
        """Record `values` by name, such as "train/spikes_per_image"; None is left out of TensorBoard."""
        with self._writing():
            self._metrics.write(json.dumps({"images_seen": images_seen, **values}) + "\n")
            self._metrics.flush()
            known = {name: value for name, value in values.items() if value is not None}
            self._events.add_values(images_seen, *({"tag": k, "simple_value": value} for k, value in known.items()))
            self._events.flush()

    def plot(self, images_seen: int, name: str, png: bytes, size: tuple[int, int]) -> None:
        """Record a plot as the bytes of a PNG file; `size` is its height and width in pixels."""
        height, width = size
        image = {"height": height, "width": width, "colorspace": 3, "encoded_image_string": png}
        with self._writing():
            self._events.add_values(images_seen, {"tag": name, "image": image})

    def hyperparameters(self, values: dict[str, float | str | bool], metrics: dict[str, float]) -> None:
        """Record what TensorBoard's tab HParams compares runs by: settings and the figures they led to.

        SummaryWriter.add_hparams would put the figures into a run of their own.
        """
        from torch.utils.tensorboard.summary import hparams

        with self._writing():
            for summary in hparams(values, metrics):
                self._events.add(summary=summary)

    def save(self) -> None:
        """Bring everything recorded to the disk: a checkpoint that is saved next must not be ahead of it."""
        with self._writing():
            self._metrics.flush()
            os.fsync(self._metrics.fileno())
            self._events.flush()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f"{self._directory}: cannot be written: {error.strerror}; the last checkpoint is unharmed"
            raise UserError(message) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        with self._writing() if kind is None else suppress(OSError):
            self._events.close()
        with self._writing() if kind is None else suppress(OSError):
            self._metrics.close()


def _rows_before(path: Path, images_seen: int) -> bytes:
    """Return the rows of a metrics file from before a number of images; a last row that was cut off is none of them."""
    kept = []
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        try:
            if json.loads(line)["images_seen"] < images_seen:
                kept.append(line)
        except ValueError:
            break
    return b"".join(kept)


class Bar(tqdm):
    """A progress bar; where it is disabled, the log says now and then how far it would be."""

    def __init__(self, what: str, **look: Any):
        self._what, self._said_at, self._remark = what, time.monotonic(), ""
        super().__init__(desc=what, **look)

    def update(self, n: float | None = 1) -> bool | None:
        """Move on by `n` images."""
        if not self.disable:
            return super().update(n)
        self.n += n or 0
        if time.monotonic() - self._said_at >= SECONDS_BETWEEN_LINES:
            self._said_at = time.monotonic()
            log.info("%s: %d of %d images%s", self._what, self.n, self.total, self._remark)
        return None

    def remark(self, text: str) -> None:
        """Add a remark to what is shown."""
        self._remark = f", {text}"
        self.set_postfix_str(text)


class Bars:
    """Makes progress bars, or lines on the log in place of invisible ones; `visible=None` shows bars on a terminal."""

    def __init__(self, visible: bool | None):
        self._disable = None if visible is None else not visible
        Bar.set_lock(threading.RLock())  # its own is for several processes too, and outlives one that is killed

    def open(self, what: str, total: int, done: int = 0) -> Bar:
        """Return a progress bar over `total` images that starts at `done`; it is a context that closes itself."""
        look = {"unit": " images", "unit_scale": True, "dynamic_ncols": True}
        return Bar(what, total=total, initial=done, disable=self._disable, **look)
