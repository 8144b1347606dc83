"""mode=predict: prints the answers of a trained network to a user's pictures, and writes files on request."""

import csv
import io
import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from stdp_run.commands import Invocation
from stdp_run.config.schema import read_settings
from stdp_run.datasets.image_folder import ENDINGS, pictures_below
from stdp_run.datasets.pictures import reader_for
from stdp_run.errors import UserError, printable
from stdp_run.files import check_place, csv_cell, write_atomically
from stdp_run.inference.load import Answers, load

log = logging.getLogger(__name__)


class Prediction(NamedTuple):
    """The answers to N pictures."""

    files: tuple[Path, ...]  # [N]
    answers: Answers
    broken: tuple[Path, ...]  # files that could not be read
    pixels: np.ndarray  # uint8 [N, height, width], as the network saw the pictures


def run(record: dict[str, Any], invocation: Invocation) -> float:
    """Print a line for each picture, write the requested files, and return 0; raise UserError for a bad file."""
    settings = read_settings(record)
    assert settings.predict is not None and settings.checkpoint is not None  # this mode has them
    images, csv_path, folder = settings.predict.images, settings.predict.csv, settings.predict.save
    if csv_path is not None:
        check_place("predict.csv", csv_path)
    if folder is not None:
        check_place("predict.save", folder, folder=True)
    readout = settings.evaluator.readout if "evaluator.readout" in invocation.explicit else None
    prediction = predict(settings.checkpoint, images, settings.threads, readout)
    print(table(prediction))
    if csv_path is not None:
        write_atomically(Path(csv_path), csv_text(prediction).encode())
        log.info("%s: the answers", csv_path)
    if folder is not None:
        save_pictures(prediction, Path(folder))
    if prediction.broken:
        raise UserError(f"predict.images={images}: {len(prediction.broken)} could not be read, named above")
    return 0.0


def predict(
    checkpoint: str | Path, images: str | Path, threads: int | None = None, readout: str | None = None
) -> Prediction:
    """Classify a picture, or all in a folder and below, warning of those without ink; raise UserError if all fail."""
    path, read, pixels, broken = Path(images), [], [], []
    found = [path] if path.is_file() else pictures_below(path)
    if not found:
        raise UserError.bad_value("predict.images", images, f"a picture, or a folder with {', '.join(ENDINGS)}")
    network = load(checkpoint, threads=threads)
    reader = reader_for(network.settings.dataset)
    for file in found:
        try:
            pixels.append(reader.read(file))
            read.append(file)
            if not pixels[-1].any():
                log.warning("%s: no ink was found", printable(file))
        except UserError as error:
            log.warning("%s", error)
            broken.append(file)
    if not read:
        raise UserError.bad_value("predict.images", images, "pictures; none of the files there can be read as one")
    log.info("%s", reader.summary())
    answers = network.classify(np.stack(pixels), readout)
    same = np.unique(answers.confidence.round(6), return_counts=True)[1].max() / len(read)
    log.info("confidence is valid for images like the training images; a picture of something else may get a high one")
    if same > 0.5 and len(read) > 1:
        text = "%.0f%% of the answers have the same confidence; evaluator.readout=proportion may rank them"
        log.warning(text, 100 * same)
    return Prediction(tuple(read), answers, tuple(broken), np.stack(pixels))


def save_pictures(prediction: Prediction, folder: Path) -> None:
    """Save the pictures as the network saw them to a new folder, in the order of the table: 0001_NAME.png, ..."""
    try:
        folder.mkdir()
        for n, (file, pixels) in enumerate(zip(prediction.files, prediction.pixels, strict=True), 1):
            Image.fromarray(pixels).save(folder / f"{n:04}_{file.stem}.png")
    except OSError as error:
        raise UserError(f"predict.save={folder}: cannot be written: {error.strerror}") from None


def table(prediction: Prediction) -> str:
    """Return a header and a line for each picture: file, answer, confidence."""
    answers = prediction.answers
    names = ["none" if name is None else printable(name) for name in answers.names]
    shares = [f"{confidence:.0%}" for confidence in answers.confidence]
    rows = [("file", "answer", "confidence"), *zip(map(printable, prediction.files), names, shares, strict=True)]
    first, second, third = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(f"{file:<{first}}  {name:<{second}}  {share:>{third}}" for file, name, share in rows)


def csv_text(prediction: Prediction) -> str:
    """Return CSV (RFC 4180): file, answer (empty for none), confidence (0 to 1), score_NAME of each class."""
    files, answers, *_ = prediction
    rows = [["file", "answer", "confidence", *(csv_cell(f"score_{name}") for name in answers.classes)]]
    for file, name, confidence, score in zip(files, answers.names, answers.confidence, answers.score, strict=True):
        rows.append([csv_cell(str(file)), csv_cell(name or ""), f"{confidence:.6f}", *(f"{x:.6g}" for x in score)])
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()
