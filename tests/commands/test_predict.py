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
from stdp_run.errors import UserError, printable
from stdp_run.inference.load import load


@pytest.fixture
def folder(tmp_path, mnist):
    """Pictures of six digits, one of them in a folder below; one black, one broken; and what is no picture."""
    folder = tmp_path / "pictures"
    for name in ("notes.txt", ".hidden/c.png", "below/._z.png", "broken.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"no picture")
    (folder / "loop").symlink_to(".")
    os.mkfifo(folder / "pipe.png")  # reading it would never end
    Image.new("L", (40, 30)).save(folder / "black.png")
    for n, digit in enumerate(mnist.test.pixels[:5]):
        Image.fromarray(digit).save(folder / f"digit {n}.png")
    Image.fromarray(255 - mnist.test.pixels[5]).save(folder / "below" / "digit 0.BMP")
    return folder


def test_a_line_for_each_picture_and_the_broken_one_named(finished_run, folder, mnist, caplog):
    with caplog.at_level(logging.WARNING):
        prediction = predict(finished_run, folder)
    names = ("black.png", *(f"digit {n}.png" for n in range(5)), "below/digit 0.BMP")
    assert prediction.files == tuple(folder / name for name in names)
    assert prediction.broken == (folder / "broken.jpg",)
    assert f"{folder / 'black.png'}: no ink was found" in caplog.text
    assert "broken.jpg: cannot be read as an image" in caplog.text
    expected = load(finished_run).classify(mnist.test.pixels[:6])
    assert prediction.answers.names == (None, *expected.names)
    assert np.array_equal(prediction.answers.counts[1:], expected.counts)
    head, black, *lines = table(prediction).splitlines()
    assert len({len(line) for line in (head, black, *lines)}) == 1, "columns are aligned"
    assert head.split() == ["file", "answer", "confidence"]
    assert black.split() == [str(folder / "black.png"), "none", "0%"]
    shares = [f"{share:.0%}" for share in expected.confidence]
    assert [line.split()[-2:] for line in lines] == [[*pair] for pair in zip(expected.names, shares, strict=True)]


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
    assert [row["answer"] for row in rows] == [name or "" for name in prediction.answers.names]
    assert [float(row["confidence"]) for row in rows] == pytest.approx(prediction.answers.confidence, abs=1e-6)
    scores = [[float(row[f"score_{digit}"]) for digit in range(10)] for row in rows]
    np.testing.assert_allclose(scores, prediction.answers.score, rtol=1e-5)


def test_pictures_are_saved_as_the_network_saw_them(finished_run, folder, mnist, tmp_path):
    (folder / "broken.jpg").unlink()
    keys = ("checkpoint", finished_run), ("predict.images", folder), ("predict.save", tmp_path / "seen")
    asked(tmp_path, *keys)
    seen = {path.name[:-4]: np.asarray(Image.open(path)) for path in (tmp_path / "seen").iterdir()}
    names = ("0001_black", *(f"{n + 2:04}_digit {n}" for n in range(5)), "0007_digit 0")
    np.testing.assert_equal(seen, dict(zip(names, [np.zeros((28, 28)), *mnist.test.pixels[:6]], strict=True)))
    with pytest.raises(UserError, match=r"predict\.save=.*seen: must be a new folder, in a writable folder"):
        asked(tmp_path, *keys)


def test_whether_confidence_ranks_is_said_and_another_readout_can_answer(finished_run, folder, caplog, tmp_path):
    (folder / "broken.jpg").unlink()
    keys = ("checkpoint", finished_run), ("predict.images", folder), ("predict.csv", tmp_path / "answers.csv")
    caplog.set_level(logging.INFO)
    warning = "71% of the answers have the same confidence; evaluator.readout=proportion may rank them"
    for readout, is_warned in (((), True), ((("evaluator.readout", "proportion"),), False)):
        caplog.clear()
        asked(tmp_path, *keys, *readout)
        assert "confidence is valid for images like the training images" in caplog.text
        assert (warning in caplog.text) == is_warned
    prediction = predict(finished_run, folder, readout="proportion")
    assert (tmp_path / "answers.csv").read_bytes().decode() == csv_text(prediction)
    expected = load(finished_run).classify(prediction.pixels, "proportion")
    np.testing.assert_equal(prediction.answers.confidence, expected.confidence)


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


def test_names_of_files_and_classes_reach_terminal_and_csv_as_text(finished_run, mnist, tmp_path, caplog, monkeypatch):
    odd = ["-1+1.png", "=1.png", "\x1b[31m.png", "two\nlines.png", "\udcff.png"]
    (tmp_path / "pictures").mkdir()
    for name in odd:
        Image.fromarray(mnist.test.pixels[0]).save(tmp_path / "pictures" / name)
    (tmp_path / "pictures" / "no\npicture.png").write_bytes(b"")
    saved = checkpoint.load(finished_run / "checkpoint.pt")
    saved.labels["classes"] = [f"=\x1b{digit}" for digit in range(10)]
    checkpoint.save(tmp_path / "named.pt", saved)
    monkeypatch.chdir(tmp_path / "pictures")
    prediction = predict(tmp_path / "named.pt", ".")
    lines = table(prediction).splitlines()
    rows = list(csv.reader(io.StringIO(csv_text(prediction), newline="")))[1:]
    assert len(lines) == 1 + len(odd) and "".join(lines).isprintable() and r"two\nlines.png  =\x1b" in "".join(lines)
    assert all(record.getMessage().isprintable() for record in caplog.records)
    assert {row[0] for row in rows} == {f"'{name}" if name[0] in "=-" else printable(name) for name in odd}
    assert {row[1][:6] for row in rows} == {r"'=\x1b"} and float(rows[0][2]) > 0
    assert csv_text(prediction).isascii() and "\x1b" not in csv_text(prediction)
