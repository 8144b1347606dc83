"""mode=predict: what a trained network makes of a user's own pictures: a line for each, and a CSV on request."""

import csv
import io
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stdp_run.commands import Invocation
from stdp_run.config.schema import Settings
from stdp_run.datasets.picture_files import ENDINGS, pictures_below
from stdp_run.datasets.pictures import reader_for
from stdp_run.errors import UserError, printable
from stdp_run.files import check_place, csv_cell, write_atomically
from stdp_run.inference.load import Answers, load

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """What became of every picture."""

    files: tuple[Path, ...]  # [N] the pictures that could be read
    answers: Answers  # of N pictures
    broken: tuple[Path, ...]  # the files that could not be read


def run(settings: Settings, _: Invocation) -> float:
    """Print a line for each picture, and write a CSV if asked for; return 0, as no accuracy is measured.

    Raises:
        UserError: as `predict` does; the CSV cannot be written; or, when all is done, some files could not be read.
    """
    images, csv_path = settings.predict.images, settings.predict.csv
    assert settings.checkpoint is not None and images is not None  # the settings of this mode have them
    if csv_path is not None:
        check_place("predict.csv", csv_path)
    prediction = predict(settings.checkpoint, images, settings.threads, settings.config_dir)
    print(table(prediction))
    if csv_path is not None:
        write_atomically(Path(csv_path), csv_text(prediction).encode(errors="surrogateescape"))
        log.info("%s: the answers", csv_path)
    if prediction.broken:
        raise UserError(f"predict.images={images}: {len(prediction.broken)} could not be read, named above")
    return 0.0


def predict(
    checkpoint: str | Path, images: str | Path, threads: int | None = None, config_dir: str | None = None
) -> Prediction:
    """Have a trained network answer pictures.

    A file that cannot be read is named in a warning on the log, and the others are still answered. Pictures are
    prepared as those that the network learned (`stdp_run.datasets.pictures.reader_for`); the log says how.

    Args:
        checkpoint: a run's directory, or the checkpoint.pt in it.
        images: a picture or a folder of pictures (`find_pictures`).
        threads, config_dir: as for `stdp_run.load`.

    Raises:
        UserError: the checkpoint cannot be used, there is no picture, or none can be read.
    """
    found = find_pictures(images)
    network = load(checkpoint, threads=threads, config_dir=config_dir)
    reader = reader_for(network.settings.dataset)
    read, pixels, broken = [], [], []
    for file in found:
        try:
            pixels.append(reader.read(file))
            read.append(file)
        except UserError as error:
            log.warning("%s", error)
            broken.append(file)
    if not read:
        raise UserError.bad_value("predict.images", images, "pictures; none of the files there can be read as one")
    log.info("%s", reader.summary())
    return Prediction(tuple(read), network.classify(np.stack(pixels)), tuple(broken))


def find_pictures(path: str | Path) -> list[Path]:
    """Return the pictures at `path`, sorted by folder, then name.

    A file is taken whatever its name. Of a folder, the files in it and in all folders below that end in .png, .jpg,
    .jpeg, .bmp, .gif, .webp, .tif, .tiff, .ppm or .pgm. What starts with a dot is left out.

    Raises:
        UserError: nothing is there, or no picture is.
    """
    wanted = f"a picture, or a folder with pictures ({', '.join(ending[1:] for ending in ENDINGS)})"
    place = Path(path)
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise UserError.bad_value("predict.images", path, f"{wanted}; there is no such file or folder")
    found = pictures_below(place)
    if not found:
        raise UserError.bad_value("predict.images", path, f"{wanted}; there is no picture in this folder")
    return found


def table(prediction: Prediction) -> str:
    """Return a header and a line for each picture: file, answer, confidence."""
    answers = prediction.answers
    names = ["none" if name is None else printable(name) for name in answers.names]
    shares = [f"{confidence:.0%}" for confidence in answers.confidence]
    rows = [("file", "answer", "confidence"), *zip(map(printable, prediction.files), names, shares, strict=True)]
    first, second, third = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(f"{file:<{first}}  {name:<{second}}  {share:>{third}}" for file, name, share in rows)


def csv_text(prediction: Prediction) -> str:
    """Return the answers as CSV (RFC 4180): file, answer, confidence (0 to 1) and each class's score_NAME.

    Without an answer the field is empty, and the confidence 0. What a spreadsheet would take for a formula begins with
    an apostrophe.
    """
    answers = prediction.answers
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(["file", "answer", "confidence", *(f"score_{name}" for name in answers.classes)])
    for n, file in enumerate(prediction.files):
        scores = [f"{value:.6g}" for value in answers.score[n]]
        writer.writerow(
            [csv_cell(str(file)), csv_cell(answers.names[n] or ""), f"{answers.confidence[n]:.6f}", *scores]
        )
    return buffer.getvalue()
