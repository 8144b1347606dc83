import io
import logging
import sys
import time

import pytest
from helpers.runs import events_of, rows_of
from PIL import Image
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from stdp_run.errors import UserError
from stdp_run.training import tracking
from stdp_run.training.tracking import Bars, Tracker


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (width, height)).save(file, "png")
    return file.getvalue()


def test_what_a_resumed_run_records_replaces_what_came_after_however_soon_it_is_resumed(tmp_path):
    for resumed_at in (None, 7):
        with Tracker(tmp_path, resumed_at) as tracker:
            for images in range(resumed_at or 0, 10):
                tracker.scalars(images, {"value": resumed_at or 0, "missing": None})
    began = [file.name.split(".")[3] for file in tmp_path.glob("events.out.tfevents.*.stdp-run")]
    assert len(set(began)) == 2, "TensorBoard reads them in the order of their names, which say the second"
    events = events_of(tmp_path)
    expected = [(images, 7 if images >= 7 else 0) for images in range(10)]
    assert [(event.step, event.value) for event in events.Scalars("value")] == expected
    rows = rows_of(tmp_path)
    assert [(row["images_seen"], row["value"]) for row in rows] == expected and rows[0]["missing"] is None
    assert events.Tags()["scalars"] == ["value"]


def test_a_row_that_was_cut_off_is_dropped(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"images_seen": 1}\n{"images_seen": 5}\n{"images_se')
    with Tracker(tmp_path, resumed_at=5) as tracker:
        tracker.scalars(5, {})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"images_seen": 1}\n{"images_seen": 5}\n'


def test_plots_and_all_scalar_settings_are_in_the_runs_own_event_file(tmp_path):
    plot = png(30, 20)
    with Tracker(tmp_path) as tracker:
        tracker.plot(5, "theta", plot)
        settings = {"rule.name": "triplet", "n_exc": 20, "tf32": True, "n_train": None, "sizes": [1, 2]}
        tracker.hyperparameters(settings, {"test/accuracy": 0.5})
    events = events_of(tmp_path)
    [image] = events.Images("theta")
    assert (image.step, image.width, image.height, image.encoded_image_string) == (5, 30, 20, plot)
    start, end = (
        HParamsPluginData.FromString(events.summary_metadata[f"_hparams_/{name}"].plugin_data.content)
        for name in ("session_start_info", "experiment")
    )
    values = start.session_start_info.hparams
    assert values.keys() == {"rule.name", "n_exc", "tf32"} and values["n_exc"].number_value == 20
    assert [metric.name.tag for metric in end.experiment.metric_infos] == ["test/accuracy"]
    assert [path.is_file() for path in tmp_path.iterdir()] == [True], "there is no second run"


def test_a_bar_is_shown_where_it_is_asked_for(monkeypatch):
    for visible in (True, False):
        monkeypatch.setattr(sys, "stderr", terminal := io.StringIO())
        with Bars(visible).open("learning", 10, 4) as bar:
            bar.update(6)
        assert ("learning: 100%" in terminal.getvalue() and "10.0/10.0" in terminal.getvalue()) == visible


def test_where_there_is_no_bar_the_log_says_now_and_then_how_far_it_is(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(tracking, "SECONDS_BETWEEN_LINES", 0.2)
    with Bars(visible=False).open("learning", 10, 2) as bar:
        bar.update(2)
        bar.show("running accuracy 50%")
        for n_images in (3, 1):
            time.sleep(0.25)
            bar.update(n_images)
            bar.update(0)
    lines = [f"learning: {images} of 10 images, running accuracy 50%" for images in (7, 8)]
    assert caplog.messages == lines


@pytest.mark.parametrize("record", [lambda it, n: it.scalars(n, {"a": 1.0}), lambda it, n: it.plot(n, "a", png(9, 9))])
def test_a_full_disk_is_one_error_that_names_the_directory(tmp_path, record, capfd):
    limits = pytest.importorskip("resource")
    before = limits.getrlimit(limits.RLIMIT_FSIZE)
    line = f"^{tmp_path}: cannot be written: .*; the last checkpoint is unharmed$"
    try:
        with pytest.raises(UserError, match=line), Tracker(tmp_path) as tracker:
            limits.setrlimit(limits.RLIMIT_FSIZE, (1000, before[1]))  # as a disk that is full after so many bytes
            for images in range(100):
                record(tracker, images)
            tracker.save()
    finally:
        limits.setrlimit(limits.RLIMIT_FSIZE, before)
    assert "Traceback" not in capfd.readouterr().err, "of the thread that writes events"
