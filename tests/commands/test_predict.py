"""Pictures on disk answered by a real trained network: the table, the CSV, broken files, and accuracy kept."""

import csv
import io
import logging

import numpy as np
import pytest
from PIL import Image
from test_trained import learned

from stdp_run.commands.predict import predict
from stdp_run.errors import UserError
from stdp_run.inference import load as trained


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return learned(tmp_path_factory.mktemp("learned"), "n_exc=100", "n_train=3000")


@pytest.fixture
def folder(tmp_path, mnist):
    """Six pictures of digits, one black, one broken."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n, digit in enumerate(mnist.test.pixels[:6].reshape(-1, 28, 28)):
        Image.fromarray(digit).save(folder / f"digit {n}.png")
    Image.new("L", (40, 30)).save(folder / "black.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not looked at")
    return folder


def test_a_line_for_each_picture_and_the_broken_one_named(run, folder, mnist, caplog):
    shown = []
    with caplog.at_level(logging.WARNING):
        prediction = predict(run, folder, show=shown.append)
    assert [path.name for path in prediction.files] == ["black.png", *(f"digit {n}.png" for n in range(6))]
    assert [path.name for path in prediction.broken] == ["broken.jpg"]
    assert [record.getMessage().count("\n") for record in caplog.records] == [0]
    assert "broken.jpg: cannot be read as an image" in caplog.text
    expected = trained.load(run).classify(mnist.test.pixels[:6])
    assert prediction.answers.names == (None, *expected.names)
    assert np.array_equal(prediction.answers.counts[1:], expected.counts)
    lines = shown[0].splitlines()
    assert lines[0].split() == ["file", "answer", "confidence"] and len(lines) == 8
    assert len({len(line) for line in lines}) == 1, "columns are aligned"
    assert lines[1].split() == [str(folder / "black.png"), "none", "0%"]
    for line, name, share in zip(lines[2:], expected.names, expected.confidence, strict=True):
        assert line.split()[-2:] == [name, f"{share:.0%}"]


def test_the_csv_holds_the_scores(run, folder, tmp_path):
    prediction = predict(run, folder, tmp_path / "answers.csv", show=lambda _: None, threads=1)
    with open(tmp_path / "answers.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "answer", "confidence", *(f"score_{digit}" for digit in range(10))]
    assert [row["file"] for row in rows] == [str(path) for path in prediction.files]
    assert rows[0]["answer"] == "" and float(rows[0]["confidence"]) == 0
    for n, row in enumerate(rows[1:], 1):
        score = np.array([float(row[f"score_{digit}"]) for digit in range(10)])
        assert score == pytest.approx(prediction.answers.score[n], rel=1e-5)
        assert row["answer"] == str(score.argmax())
        assert float(row["confidence"]) == pytest.approx(score.max() / score.sum(), abs=1e-4)


def test_a_single_picture_and_errors(run, folder, tmp_path):
    prediction = predict(run / "checkpoint.pt", folder / "digit 0.png", show=lambda _: None)
    assert len(prediction.files) == 1 and prediction.broken == ()
    with pytest.raises(UserError, match=r"broken\.jpg: must be pictures; none of the files there can be read"):
        predict(run, folder / "broken.jpg")
    with pytest.raises(UserError, match=r"images=.*nowhere: must be a picture"):
        predict(run, tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"answers\.csv: cannot be written"):
        predict(run, folder, tmp_path / "nowhere" / "answers.csv", show=lambda _: None)


FORMATS = {
    "as it is": lambda digit: (digit, "PNG"),
    "inverted": lambda digit: (255 - digit, "PNG"),
    "enlarged": lambda digit: (np.asarray(Image.fromarray(digit).resize((280, 280), Image.Resampling.NEAREST)), "PNG"),
    "padded": lambda digit: (np.pad(digit, ((3, 20), (30, 5))), "PNG"),
    "jpeg": lambda digit: (digit, "JPEG"),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_accuracy_on_files_is_that_on_arrays(run, mnist, tmp_path, kind):
    """1,000 test images: exact where the pixels are, else within 1.5 points: changed pixels draw other spikes."""
    images, classes = mnist.test.pixels[:1000].reshape(-1, 28, 28), mnist.test.labels[:1000]
    for n, digit in enumerate(images):
        picture, form = FORMATS[kind](digit)
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, form)
        (tmp_path / f"{n:04}.{form.lower()}").write_bytes(buffer.getvalue())
    prediction = predict(run, tmp_path, show=lambda _: None)
    arrays = (trained.load(run).classify(images).class_index == classes).mean()
    files = (prediction.answers.class_index == classes).mean()
    assert abs(files - arrays) <= (0 if kind in ("as it is", "inverted") else 0.015), (files, arrays)
