"""What a trained network makes of a person's own pictures: a line for each, and a CSV on request."""

import csv
import io
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stdp_run.commands import Invocation
from stdp_run.config.schema import Settings
from stdp_run.errors import UserError
from stdp_run.files import write_atomically
from stdp_run.inference import load as trained
from stdp_run.inference.load import Answers, TrainedNetwork
from stdp_run.inference.pictures import find_pictures, read_picture

FRAMED_AS_MNIST = ("mnist",)  # data sets; the others are of other things, or are framed in another way
NO_ANSWER = "none"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """What became of every picture."""

    files: tuple[Path, ...]  # [N] the pictures that could be read
    pixels: np.ndarray  # uint8 [N, height, width], what the network was shown
    answers: Answers  # of N pictures
    broken: tuple[Path, ...]  # the files that could not be read; the caller exits non-zero where there are any


def run(settings: Settings, _: Invocation) -> float:
    """Do mode=predict."""
    section = settings.predict
    broken = predict(settings.checkpoint, section.images, section.csv, print, settings.threads).broken
    if broken:
        raise UserError(f"predict.images={section.images}: {len(broken)} could not be read, named above")
    return 0.0


def predict(checkpoint: str | Path, images: str | Path, csv_path=None, show=print, threads=None) -> Prediction:
    """Answer pictures with a trained network: show a table, one line a file, and write a CSV if asked for.

    A file that cannot be read is named in a warning on the log, and the others are still answered. Pictures are framed
    as in MNIST where the network learned MNIST; else the whole picture is resized, and `dataset.invert` holds where
    the data set has it.

    Args:
        checkpoint: a run's directory, or the checkpoint.pt in it.
        images: a picture or a folder of pictures (`stdp_run.inference.pictures.find_pictures`).
        csv_path: file for the columns file, answer, confidence (0 to 1) and, per class, score_NAME (the readout's
            score, spikes); None: no file. Without an answer, answer is empty and confidence 0.
        show: called with the table, a text.
        threads: how many pictures are looked at side by side; None: as many as there are cores.

    Raises:
        UserError: the checkpoint cannot be used, there is no picture, none can be read, or the CSV cannot be written.
    """
    files = find_pictures(images)
    network = trained.load(checkpoint, threads=threads)
    read, pixels, broken = _read_all(files, network)
    if not read:
        raise UserError.bad_value("predict.images", images, "pictures; none of the files there can be read as one")
    prediction = Prediction(tuple(read), np.stack(pixels), network.classify(np.stack(pixels)), tuple(broken))
    show(table(prediction))
    if csv_path is not None:
        write_atomically(Path(csv_path), csv_text(prediction).encode())
    return prediction


def _read_all(files: list[Path], network: TrainedNetwork) -> tuple[list[Path], list[np.ndarray], list[Path]]:
    dataset = network.settings.dataset
    options = {"frame": dataset.name in FRAMED_AS_MNIST, "invert": dataset.options.get("invert")}
    read, pixels, broken = [], [], []
    for file in files:
        try:
            pixels.append(read_picture(file, network.height, network.width, **options))
            read.append(file)
        except UserError as error:
            log.warning("%s", error)
            broken.append(file)
    return read, pixels, broken


def table(prediction: Prediction) -> str:
    """Return a header and a line for each picture: file, answer, confidence."""
    answers = prediction.answers
    rows = [("file", "answer", "confidence")]
    for file, name, confidence in zip(prediction.files, answers.names, answers.confidence, strict=True):
        rows.append((str(file), NO_ANSWER if name is None else name, f"{confidence:.0%}"))
    first, second, third = (max(len(row[column]) for row in rows) for column in range(3))
    return "\n".join(f"{file:<{first}}  {name:<{second}}  {share:>{third}}" for file, name, share in rows)


def csv_text(prediction: Prediction) -> str:
    """Return the answers as CSV with a header; lines end as RFC 4180 has it."""
    answers = prediction.answers
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(["file", "answer", "confidence", *(f"score_{name}" for name in answers.classes)])
    for n, file in enumerate(prediction.files):
        scores = [f"{value:.6g}" for value in answers.score[n]]
        writer.writerow([file, answers.names[n] or "", f"{answers.confidence[n]:.6f}", *scores])
    return buffer.getvalue()
