import io
import json
import logging
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from stdp_run.errors import UserError
from stdp_run.training import tracking
from stdp_run.training.tracking import Bars, Tracker


def test_what_a_resumed_run_records_replaces_what_came_after_however_soon_it_is_resumed(tmp_path):
    for resumed_at in (None, 7):
        with Tracker(tmp_path, resumed_at) as tracker:
            for images in range(resumed_at or 0, 10):
                tracker.scalars(images, {"value": resumed_at or 0, "missing": None})
    began = [file.name.split(".")[3] for file in tmp_path.glob("events.out.tfevents.*.stdp-run")]
    assert len(set(began)) == 2, "TensorBoard reads them in the order of their names, which say the second"
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0})
    events.Reload()
    expected = [(images, 7 if images >= 7 else 0) for images in range(10)]
    assert [(event.step, event.value) for event in events.Scalars("value")] == expected
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["images_seen"], row["value"]) for row in rows] == expected and rows[0]["missing"] is None
    assert events.Tags()["scalars"] == ["value"]


def test_a_row_that_was_cut_off_is_dropped(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"images_seen": 1}\n{"images_seen": 5}\n{"images_se')
    with Tracker(tmp_path, resumed_at=5) as tracker:
        tracker.scalars(5, {})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"images_seen": 1}\n{"images_seen": 5}\n'


def test_a_bar_is_shown_where_it_is_asked_for(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    with Bars(visible=True).open("learning", 10, 4) as bar:
        bar.update(6)
    assert "learning: 100%" in terminal.getvalue() and "10.0/10.0" in terminal.getvalue()
    written = len(terminal.getvalue())
    with Bars(visible=False).open("learning", 10) as hidden:
        hidden.update(10)
    assert len(terminal.getvalue()) == written


def test_where_there_is_no_bar_the_log_says_now_and_then_how_far_it_is(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with Bars(visible=False).open("learning", 10, 2) as bar:
        for _ in range(4):
            now[0] += tracking.SECONDS_BETWEEN_LINES / 2
            bar.update(1)
            bar.remark("running accuracy 50%")
    assert caplog.messages == [f"learning: {n} of 10 images, running accuracy 50%" for n in (4, 6)]


@pytest.mark.parametrize("write", ["scalars", "plot"])
def test_a_full_disk_is_an_error_that_names_the_directory(tmp_path, write):
    limits = pytest.importorskip("resource")
    before = limits.getrlimit(limits.RLIMIT_FSIZE)
    line = f"^{tmp_path}: cannot be written: .*; the last checkpoint is unharmed$"
    try:
        with pytest.raises(UserError, match=line), Tracker(tmp_path) as tracker:
            limits.setrlimit(limits.RLIMIT_FSIZE, (1000, before[1]))  # as a disk that is full after so many bytes
            for images in range(100):
                if write == "scalars":
                    tracker.scalars(images, {"value": 1.0})
                else:
                    tracker.plot(images, "plot", bytes(1000), (10, 10))
            tracker.save()
    finally:
        limits.setrlimit(limits.RLIMIT_FSIZE, before)
    assert (tmp_path / "metrics.jsonl").stat().st_size <= 1000
