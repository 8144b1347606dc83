"""Pictures on disk answered by a real trained network: the table, the CSV, broken files, and accuracy kept."""

import csv
import io
import logging
import os

import numpy as np
import pytest
from helpers.runs import run_in
from PIL import Image

from stdp_run import checkpoint
from stdp_run.commands.predict import csv_text, predict, table
from stdp_run.datasets.image_folder import pictures_below
from stdp_run.errors import UserError, printable
from stdp_run.inference.load import load


@pytest.fixture
def folder(tmp_path, mnist):
    """Six pictures of digits, one black, one broken."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for n, digit in enumerate(mnist.test.pixels[:6]):
        Image.fromarray(digit).save(folder / f"digit {n}.png")
    Image.new("L", (40, 30)).save(folder / "black.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not looked at")
    return folder


def test_a_line_for_each_picture_and_the_broken_one_named(finished_run, folder, mnist, caplog):
    with caplog.at_level(logging.WARNING):
        prediction = predict(finished_run, folder)
    assert [path.name for path in prediction.files] == ["black.png", *(f"digit {n}.png" for n in range(6))]
    assert [path.name for path in prediction.broken] == ["broken.jpg"]
    assert [record.getMessage().count("\n") for record in caplog.records[:2]] == [0, 0]
    assert f"{folder / 'black.png'}: no ink was found" in caplog.text
    assert "broken.jpg: cannot be read as an image" in caplog.text
    expected = load(finished_run).classify(mnist.test.pixels[:6])
    assert prediction.answers.names == (None, *expected.names)
    assert np.array_equal(prediction.answers.counts[1:], expected.counts)
    lines = table(prediction).splitlines()
    assert lines[0].split() == ["file", "answer", "confidence"] and len(lines) == 8
    assert len({len(line) for line in lines}) == 1, "columns are aligned"
    assert lines[1].split() == [str(folder / "black.png"), "none", "0%"]
    for line, name, share in zip(lines[2:], expected.names, expected.confidence, strict=True):
        assert line.split()[-2:] == [name, f"{share:.0%}"]


def asked(place, *overrides):
    """Do what `stdp-run mode=predict ...` does."""
    return run_in(place, "mode=predict", *(f"{key}='{value}'" for key, value in overrides))


def test_the_command_prints_the_table_and_the_csv_holds_the_scores(finished_run, folder, tmp_path, capsys):
    keys = ("checkpoint", finished_run), ("predict.images", folder), ("predict.csv", tmp_path / "answers.csv")
    with pytest.raises(UserError, match=r"^predict\.images=.*: 1 could not be read, named above"):
        asked(tmp_path, *keys)
    prediction = predict(finished_run / "checkpoint.pt", folder, threads=1)
    assert capsys.readouterr().out == table(prediction) + "\n"
    with open(tmp_path / "answers.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "answer", "confidence", *(f"score_{digit}" for digit in range(10))]
    assert [row["file"] for row in rows] == [str(path) for path in prediction.files]
    assert rows[0]["answer"] == "" and float(rows[0]["confidence"]) == 0
    for n, row in enumerate(rows[1:], 1):
        score = np.array([float(row[f"score_{digit}"]) for digit in range(10)])
        assert score == pytest.approx(prediction.answers.score[n], rel=1e-5)
        assert row["answer"] == str(score.argmax())
        assert float(row["confidence"]) == pytest.approx(prediction.answers.confidence[n], abs=1e-6)


def test_pictures_are_saved_as_the_network_saw_them(finished_run, folder, mnist, tmp_path, caplog):
    (folder / "below").mkdir()
    Image.fromarray(255 - mnist.test.pixels[6]).save(folder / "below" / "digit 0.bmp")
    (folder / "broken.jpg").unlink()
    keys = ("checkpoint", finished_run), ("predict.images", folder), ("predict.save", tmp_path / "seen")
    asked(tmp_path, *keys)
    seen = {path.name[:-4]: np.asarray(Image.open(path)) for path in (tmp_path / "seen").iterdir()}
    pictures = [("black", np.zeros((28, 28))), *((f"digit {n}", mnist.test.pixels[n]) for n in range(6))]
    pictures.append(("digit 0", mnist.test.pixels[6]))  # in a folder below
    expected = {f"{n:04}_{name}": pixels for n, (name, pixels) in enumerate(pictures, 1)}
    assert seen.keys() == expected.keys() and all(np.array_equal(seen[name], expected[name]) for name in seen)
    with pytest.raises(UserError, match=r"predict\.save=.*seen: must be a new folder, in a writable folder"):
        asked(tmp_path, *keys)


def test_whether_confidence_ranks_is_said_and_another_readout_can_answer(finished_run, folder, caplog, tmp_path):
    (folder / "broken.jpg").unlink()
    keys = ("checkpoint", finished_run), ("predict.images", folder), ("predict.csv", tmp_path / "answers.csv")
    caplog.set_level(logging.INFO)
    warning = "71% of the answers have the same confidence, which ranks none; evaluator.readout=proportion may"
    for readout, is_warned in (((), True), ((("evaluator.readout", "proportion"),), False)):
        caplog.clear()
        asked(tmp_path, *keys, *readout)
        assert "confidence holds on images like those learned from" in caplog.text
        assert (warning in caplog.text) == is_warned
    expected = load(finished_run).classify(predict(finished_run, folder).pixels, "proportion").confidence
    with open(tmp_path / "answers.csv", newline="", encoding="utf-8") as file:
        assert [float(row["confidence"]) for row in csv.DictReader(file)] == pytest.approx(expected, abs=1e-6)


def test_a_single_picture_and_errors(finished_run, folder, tmp_path):
    one = ("checkpoint", finished_run), ("predict.images", folder / "digit 0.png")
    assert asked(tmp_path, *one) == 0
    with pytest.raises(UserError, match=r"predict\.csv=.*answers\.csv: must be a file to write"):
        asked(tmp_path, *one, ("predict.csv", tmp_path / "nowhere" / "answers.csv"))
    with pytest.raises(UserError, match=r"broken\.jpg: must be pictures; none of the files there can be read"):
        predict(finished_run, folder / "broken.jpg")
    (tmp_path / "bare").mkdir()
    for name in ("nowhere", "bare"):
        with pytest.raises(UserError, match=rf"predict\.images=.*{name}: must be a picture, or a folder with \.png"):
            predict(finished_run, tmp_path / name)


def test_names_of_files_and_classes_reach_the_terminal_and_the_csv_as_text(finished_run, mnist, tmp_path, caplog):
    odd = ["-1+1.png", "=1.png", "\x1b[31m.png", "two\nlines.png", "\udcff.png"]
    (tmp_path / "pictures").mkdir()
    for name in odd:
        Image.fromarray(mnist.test.pixels[0]).save(tmp_path / "pictures" / name)
    (tmp_path / "pictures" / "no\npicture.png").write_bytes(b"")
    saved = checkpoint.load(finished_run / "checkpoint.pt")
    saved.labels["classes"] = [f"=\x1b{digit}" for digit in range(10)]
    checkpoint.save(tmp_path / "named.pt", saved)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path / "pictures")
        prediction = predict(tmp_path / "named.pt", ".")
        lines = table(prediction).splitlines()
        rows = list(csv.reader(io.StringIO(csv_text(prediction), newline="")))[1:]
    assert len(lines) == 1 + len(odd) and "".join(lines).isprintable() and r"two\nlines.png  =\x1b" in "".join(lines)
    assert all(record.getMessage().isprintable() for record in caplog.records)
    assert {row[0] for row in rows} == {f"'{name}" if name[0] in "=-" else printable(name) for name in odd}
    assert {row[1][:6] for row in rows} == {r"'=\x1b"} and float(rows[0][2]) > 0
    assert csv_text(prediction).isascii() and "\x1b" not in csv_text(prediction)


def test_pictures_are_found_in_all_folders_below(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")  # reading it would never end
    (tmp_path / "loop").symlink_to(".")
    names = ["1.png", "below/z.png", "below/deeper/a.JPG", "notes.txt", ".hidden/c.png", "below/._z.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert pictures_below(tmp_path) == [tmp_path / name for name in names[:3]]


FORMATS = {
    "padded": lambda digit: (np.pad(digit, ((3, 20), (30, 5))), "PNG"),
    "unchanged": lambda digit: (digit, "PNG"),
    "jpeg": lambda digit: (digit, "JPEG"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_accuracy_on_files_is_that_on_arrays(finished_run, mnist, tmp_path, kind):
    """1,000 test images, within 1.5 points: changed pixels draw other spikes."""
    images, classes = mnist.test.pixels[:1000], mnist.test.labels[:1000]
    for n, digit in enumerate(images):
        picture, form = FORMATS[kind](digit)
        Image.fromarray(picture).save(tmp_path / f"{n:04}.{form.lower()}", form)
    files = (predict(finished_run, tmp_path).answers.class_index == classes).mean()
    arrays = (load(finished_run).classify(images).class_index == classes).mean()
    assert abs(files - arrays) <= 0.015 * (kind != "unchanged"), (files, arrays)
