"""What a run leaves to look at: TensorBoard events, a metrics file beside them, and progress bars on the terminal."""

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from tqdm import tqdm

from stdp_run.files import write_atomically

EVENTS_SUFFIX = ".stdp-run"  # of the name of an event file: no other program's ends so


class Tracker:
    """Writes scalars to `metrics.jsonl` (a JSON object per line) and, with the plots, to TensorBoard events.

    The step of every entry is the number of images learned from so far, over all epochs. A run that is resumed after
    `resumed_at` images replaces the entries from there on; TensorBoard leaves the replaced ones out of its curves.
    """

    def __init__(self, directory: Path, resumed_at: int | None = None):
        from torch.utils.tensorboard import SummaryWriter

        path = directory / "metrics.jsonl"
        if resumed_at is not None:
            write_atomically(path, _rows_before(path, resumed_at))
            # TensorBoard reads event files in the order of their names, which say only in which second they began.
            while any(directory.glob(f"events.out.tfevents.{int(time.time()):010}.*")):
                time.sleep(0.05)
        self._metrics = open(path, "a", encoding="utf-8")  # noqa: SIM115  closed by close()
        self._board = SummaryWriter(str(directory), purge_step=resumed_at, filename_suffix=EVENTS_SUFFIX)

    def scalars(self, images_seen: int, values: Mapping[str, float | None]) -> None:
        """Record `values` by name, such as "train/spikes_per_image"; None is left out of TensorBoard."""
        self._metrics.write(json.dumps({"images_seen": images_seen, **values}) + "\n")
        self._metrics.flush()
        for name, value in values.items():
            if value is not None:
                self._board.add_scalar(name, value, images_seen)

    def plot(self, images_seen: int, name: str, png: bytes, size: tuple[int, int]) -> None:
        """Record a plot as the bytes of a PNG file; `size` is its height and width in pixels."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        height, width = size
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
        self._board._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=name, image=image)]), images_seen)

    def hyperparameters(self, values: dict[str, float | str | bool], metrics: dict[str, float]) -> None:
        """Record what TensorBoard's tab HParams compares runs by: settings and the figures they led to.

        SummaryWriter.add_hparams would put the figures into a run of their own.
        """
        from torch.utils.tensorboard.summary import hparams

        for summary in hparams(values, metrics):
            self._board._get_file_writer().add_summary(summary)

    def save(self) -> None:
        """Bring everything recorded to the disk: a checkpoint that is saved next must not be ahead of it."""
        self._metrics.flush()
        os.fsync(self._metrics.fileno())
        self._board.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._board.close()
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


class Bars:
    """Progress bars; runs side by side share one for what they do at the same time.

    They are silent where standard error is no terminal, or if not `visible`.
    """

    def __init__(self, visible: bool):
        self._visible = visible
        tqdm.set_lock(threading.RLock())  # its own is for several processes too, and outlives one that is killed
        self._users: dict[str, list[tqdm]] = {}  # by what is done: the same bar, once for each run

    @contextmanager
    def open(self, what: str, total: int, done: int = 0) -> Iterator[tqdm]:
        """Return a context with a bar over `total` images, of which some are `done`."""
        users = self._users.setdefault(what, [])
        if users:
            bar = users[0]
            bar.total += total - done
        else:
            look = {"unit": " images", "unit_scale": True, "dynamic_ncols": True}
            bar = tqdm(total=total, initial=done, desc=what, disable=None if self._visible else True, **look)
        users.append(bar)
        try:
            yield bar
        finally:
            users.pop()
            if not users:
                bar.close()
