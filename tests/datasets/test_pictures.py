"""A user's pictures: real files of many kinds, made from real MNIST and from drawn and photographed pages."""

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from stdp_run.datasets.pictures import PictureReader
from stdp_run.errors import UserError

SIDE = 600  # pixels of a synthetic photograph


@pytest.fixture(scope="module")
def digits(mnist):
    return mnist.test.pixels[:20]


def saved(picture, kind="PNG", **options):
    """Return a picture as a file of its own in memory."""
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, kind, **options)
    file.seek(0)
    return file


def read_picture(file, height=28, width=28, prepare="frame", invert=None):
    return PictureReader(height, width, prepare, invert).read(file)


def enlarged(digit, side=280, method=Image.Resampling.BICUBIC):
    return np.asarray(Image.fromarray(digit).resize((side, side), method))


def mask(digit, side=280, top=180, left=120):
    """Return a page [SIDE, SIDE] with a digit on it: 1 where there is ink."""
    page = np.zeros((SIDE, SIDE))
    page[top : top + side, left : left + side] = enlarged(digit, side) / 255
    return page


def photograph(light, noise=5.0, seed=0):
    grain = np.random.default_rng(seed).normal(0, noise, np.shape(light))
    return saved(np.clip(light + grain, 0, 255).astype(np.uint8), "JPEG", quality=85)


def likeness(picture, digit):
    """Return the correlation of two pictures, at best over shifts by a pixel: 1 for the same; unlike digits < 0.6."""
    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    moved = [np.roll(picture, shift, (0, 1)).ravel().astype(float) for shift in shifts]
    return max(np.corrcoef(one, digit.ravel())[0, 1] if one.any() else 0.0 for one in moved)


def test_pictures_of_the_data_set_come_out_bit_for_bit(mnist):
    for digit in mnist.test.pixels[:500]:
        assert np.array_equal(read_picture(saved(digit), 28, 28), digit)
    for digit in mnist.train.pixels[:500]:
        assert np.array_equal(read_picture(saved(255 - digit, "BMP"), 28, 28), digit)


KINDS = {
    "jpeg": (lambda digit: saved(digit, "JPEG", quality=75), 0.97),
    "webp": (lambda digit: saved(digit, "WEBP", quality=90), 0.97),
    "gif": (lambda digit: saved(255 - digit, "GIF"), 1.0),
    "tiff": (lambda digit: saved(digit, "TIFF"), 1.0),
    "16 bit": (lambda digit: saved(digit.astype(np.uint16) * 257), 1.0),
    "16 bit, enlarged": (lambda digit: saved(65535 - enlarged(digit).astype(np.uint16) * 257), 0.9),
    "floating point": (lambda digit: saved(Image.fromarray(digit.astype(np.float32) / 255), "TIFF"), 1.0),
    "two tones": (lambda digit: saved(Image.fromarray(enlarged(digit) > 127)), 0.85),
    "blue on yellow": (
        lambda digit: saved(np.stack([255 - enlarged(digit), 255 - enlarged(digit), enlarged(digit) // 2 + 64], -1)),
        0.9,
    ),
    "ten times as large": (lambda digit: saved(enlarged(digit, 280, Image.Resampling.NEAREST)), 0.95),
    "large, inverted, jpeg": (lambda digit: saved(255 - enlarged(digit), "JPEG", quality=75), 0.9),
    "padded": (lambda digit: saved(np.pad(digit, ((3, 20), (30, 5)))), 0.95),
    "padded, inverted, jpeg": (lambda digit: saved(255 - np.pad(digit, ((3, 20), (30, 5))), "JPEG"), 0.88),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_files(digits, kind):
    make, least = KINDS[kind]
    alike = [likeness(read_picture(make(digit), 28, 28), digit) for digit in digits]
    assert min(alike) > least - 1e-12 - 0.1 * (least < 1), kind
    assert np.mean(alike) >= least - 1e-12


y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
PHOTOGRAPHS = {
    "uneven light": lambda ink: (120 + 110 * x) * (1 - 0.75 * ink),
    "dark corners": lambda ink: (230 - 300 * ((y - 0.5) ** 2 + (x - 0.5) ** 2)) * (1 - 0.75 * ink),
    "the edge of a shadow": lambda ink: (210 - 90 * np.clip(8 * x + 2 * y - 5, 0, 1)) * (1 - 0.75 * ink),
    "ruled paper": lambda ink: 215 * (1 - 0.75 * ink) * (1 - 0.2 * (y * SIDE % 40 < 3)),
    "chalk on a board": lambda ink: 60 + 30 * x + 130 * ink,
    "faint pencil": lambda ink: 215 * (1 - 0.3 * ink),
}


@pytest.mark.parametrize("kind", PHOTOGRAPHS)
def test_photographs(digits, kind):
    alike = [
        likeness(read_picture(photograph(PHOTOGRAPHS[kind](mask(digit)), seed=n), 28, 28), digit)
        for n, digit in enumerate(digits[:6])
    ]
    assert np.mean(alike) > 0.85 and min(alike) > 0.6, alike


def test_a_small_digit_on_a_scanned_page(digits):
    for n, digit in enumerate(digits[:3]):
        page = np.full((2000, 1500), 250.0)
        page[700:780, 900:980] -= 200 * (enlarged(digit, 80) / 255)
        assert likeness(read_picture(photograph(page, 2.0, n), 28, 28), digit) > 0.8


def test_specks_do_not_move_the_digit(digits):
    for digit in digits[:5]:
        page = enlarged(digit)
        clean = read_picture(saved(np.pad(page, 100)), 28, 28)
        dusty = np.pad(page, 100)
        dusty[5:8, 5:8] = dusty[470:473, 300:303] = 255
        assert np.array_equal(read_picture(saved(dusty), 28, 28), clean)


def test_thin_strokes_become_as_wide_as_those_of_mnist():
    page = np.full((400, 400), 255, np.uint8)
    page[60:340, 195:199] = 0  # a "1" of 280 x 4 pixels: 0.3 pixels wide in the box
    picture = read_picture(saved(page), 28, 28)
    assert picture.max() == 255
    assert 1.2 <= picture.sum(axis=1).max() / 255 <= 2
    assert (picture.sum(axis=1) > 255).sum() in (19, 20, 21)


def test_the_frame_is_that_of_mnist_for_other_sizes_too(digits):
    for height, width in ((28, 28), (14, 14), (56, 42)):
        picture = read_picture(saved(enlarged(digits[0])), height, width)
        assert picture.shape == (height, width) and picture.dtype == np.uint8 and picture.max() == 255
        rows, columns = np.nonzero(picture > 60)
        share = max((np.ptp(rows) + 1) / height, (np.ptp(columns) + 1) / width)
        assert share == pytest.approx(20 / 28, abs=1.5 / min(height, width))
        mass = picture / picture.sum()
        assert abs((mass.sum(axis=1) @ np.arange(height)) - height // 2) <= 0.5
        assert abs((mass.sum(axis=0) @ np.arange(width)) - width // 2) <= 0.5


@pytest.mark.parametrize("ink, ground", [(0, 255), (255, 0)])
def test_ink_on_nothing_stands_out(digits, ink, ground):
    for digit in digits[:10]:
        alpha = enlarged(digit)
        drawing = np.dstack([np.full((*alpha.shape, 3), ink, np.uint8), alpha])
        assert likeness(read_picture(saved(drawing), 28, 28), digit) > 0.85
        # Drawn on paper of its own, and only the corners are cut off.
        paper = np.where(alpha[..., None] > 127, np.uint8(ink), np.uint8(ground)).repeat(3, -1)
        corners = np.full(alpha.shape, 255, np.uint8)
        corners[:30, :30] = corners[-30:, -30:] = 0
        assert likeness(read_picture(saved(np.dstack([paper, corners])), 28, 28), digit) > 0.85


def test_the_orientation_tag_is_followed(digits):
    turned = Image.fromarray(np.rot90(255 - enlarged(digits[0])))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    file = saved(turned, "JPEG", exif=exif, quality=90)
    assert likeness(read_picture(file, 28, 28), digits[0]) > 0.85
    assert likeness(read_picture(saved(turned), 28, 28), digits[0]) < 0.7


def test_of_an_animation_the_first_picture_counts(digits):
    frames = [Image.fromarray(enlarged(digit)) for digit in digits[:2]]
    file = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert len(list(ImageSequence.Iterator(Image.open(file)))) == 2
    file.seek(0)
    assert likeness(read_picture(file, 28, 28), digits[0]) > 0.85


@pytest.mark.parametrize("level", [0, 128, 255])
def test_without_ink_a_picture_is_all_black(level):
    flat = np.full((300, 200), level, np.uint8)
    for file in (saved(flat), photograph(flat * 0.7 + 20), saved(np.full((1, 1), level, np.uint8))):
        picture = read_picture(file, 28, 28)
        assert picture.shape == (28, 28) and not picture.any()
    light = 90 + 130 * x * y
    assert not read_picture(photograph(light, 8.0), 28, 28).any()
    assert not read_picture(saved(np.zeros((50, 50, 4), np.uint8)), 28, 28).any()


@pytest.mark.parametrize("prepare", ["frame", "resize"])
def test_dark_ink_is_found_and_made_bright_and_left_alone_only_on_request(digits, prepare):
    coat = np.zeros((28, 28), np.uint8)
    coat[1:27, 3:25] = 200  # most of the picture
    for picture in (*digits, coat) if prepare == "resize" else digits:
        bright, dark = (read_picture(saved(each), prepare=prepare) for each in (picture, 255 - picture))
        assert np.array_equal(bright, dark) and bright.any()
        assert prepare == "frame" or np.array_equal(bright, picture)
        assert np.array_equal(read_picture(saved(255 - picture), prepare="none"), 255 - picture)
        assert np.array_equal(read_picture(saved(255 - picture), prepare=prepare, invert=True), dark)
    assert np.array_equal(read_picture(saved(digits[0]), prepare="resize", invert=True), 255 - digits[0])


def test_the_log_says_what_was_done(digits):
    reader = PictureReader(28, 28, "frame", None)
    for picture in (digits[0], 255 - digits[1], 255 - digits[2], np.zeros((28, 28), np.uint8)):
        reader.read(saved(picture))
    assert reader.summary() == (
        "4 pictures: dark ink in 2, bright in 1; framed as in MNIST, 28 x 28; nothing found in 1: all black"
    )
    summaries = {}
    for prepare, invert in (("resize", True), ("none", None)):
        reader = PictureReader(20, 24, prepare, invert)
        reader.read(saved(digits[0]))
        summaries[prepare] = reader.summary()
    assert summaries == {
        "resize": "1 picture: dark ink, as dataset.invert says; taken whole, 20 x 24",
        "none": "1 picture: only resized, 20 x 24",
    }


@pytest.mark.parametrize(
    ("prepare", "invert", "expected"),
    [
        ("crop", None, "dataset.prepare=crop: must be one of frame, resize, none"),
        ("resize", "maybe", "dataset.invert=maybe: must be true or false, or null"),
        ("none", True, "dataset.invert=true: must be null or false with dataset.prepare=none, which leaves"),
    ],
)
def test_a_bad_preparation_is_named(prepare, invert, expected):
    with pytest.raises(UserError) as caught:
        PictureReader(28, 28, prepare, invert)
    assert str(caught.value).startswith(expected)


def test_broken_pictures_are_named_in_one_line(tmp_path, digits):
    whole = saved(enlarged(digits[0])).getvalue()
    contents = {"empty.png": b"", "text.jpg": b"no picture", "cut.png": whole[: len(whole) // 2]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}: cannot be read as an image \([^\n]+\)$"):
            read_picture(tmp_path / name, 28, 28)
    with pytest.raises(UserError, match=r"nowhere\.png: cannot be read as an image \(No such file"):
        read_picture(tmp_path / "nowhere.png", 28, 28)
    with pytest.raises(UserError, match="cannot be read as an image"):
        read_picture(tmp_path, 28, 28)
