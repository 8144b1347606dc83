"""A user's pictures: files of many kinds, made from MNIST, and synthetic photographs of pages."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from stdp_run.datasets.pictures import PictureReader
from stdp_run.errors import UserError

y, x = np.mgrid[0:600, 0:600] / 600  # pixels of a synthetic photograph
corner = (y - 0.5) ** 2 + (x - 0.5) ** 2


@pytest.fixture(scope="module")
def digits(mnist):
    return mnist.test.pixels[:10]


def saved(picture, kind="PNG", **options):
    """Return a picture as a file of its own in memory."""
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, kind, **options)
    file.seek(0)
    return file


def read_picture(file, height=28, width=28, prepare="frame", invert=None):
    return PictureReader(height, width, prepare, invert).read(file)


def enlarged(digit):
    return np.asarray(Image.fromarray(digit).resize((280, 280)))


def drawing(digit, ink):
    alpha = enlarged(digit)
    return saved(np.dstack([np.full((*alpha.shape, 3), ink, np.uint8), alpha]))


def photograph(light):
    grain = np.random.default_rng(0).normal(0, 5.0, light.shape)
    return saved(np.clip(light + grain, 0, 255).astype(np.uint8), "JPEG", quality=85)


def likeness(picture, digit):
    """Return the best correlation of two pictures over shifts by up to a pixel; below 0.6 for unlike digits."""
    digit = np.roll(digit, (1, 1), (0, 1))
    moved = [np.roll(picture, shift, (0, 1)).ravel() for shift in np.ndindex(3, 3)]
    return max(np.corrcoef(one, digit.ravel())[0, 1] if one.any() else 0.0 for one in moved)


def test_pictures_of_the_data_set_come_out_bit_for_bit(mnist):
    for digit in mnist.test.pixels[:100]:
        assert np.array_equal(read_picture(saved(digit)), digit)
        assert np.array_equal(read_picture(saved(255 - digit, "BMP")), digit)


def photographed(light):
    return lambda digit: photograph(light(np.pad(enlarged(digit) / 255, ((180, 140), (120, 200)))))


# How a digit is saved, and the least likeness.
KINDS = {
    "jpeg": (lambda digit: saved(digit, "JPEG", quality=75), 0.95),
    "16 bit": (lambda digit: saved(digit.astype(np.uint16) * 257), 0.999),
    "floating point": (lambda digit: saved(Image.fromarray(digit.astype(np.float32) / 255), "TIFF"), 0.999),
    "large, inverted, jpeg": (lambda digit: saved(255 - enlarged(digit), "JPEG", quality=75), 0.85),
    "dark drawing on nothing": (lambda digit: drawing(digit, 0), 0.85),
    "bright drawing on nothing": (lambda digit: drawing(digit, 255), 0.85),
    "of a telephone": (lambda digit: saved(page := Image.fromarray(enlarged(digit)), "MPO", append_images=[page]), 0.8),
    "in uneven light": (photographed(lambda ink: (120 + 110 * x) * (1 - 0.75 * ink)), 0.85),
    "with dark corners": (photographed(lambda ink: (230 - 300 * corner) * (1 - 0.75 * ink)), 0.85),
    "chalk on a board": (photographed(lambda ink: 60 + 30 * x + 130 * ink), 0.85),
    "faint pencil": (photographed(lambda ink: 215 * (1 - 0.3 * ink)), 0.85),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_pictures(digits, kind):
    make, least = KINDS[kind]
    alike = [likeness(read_picture(make(digit)), digit) for digit in digits[:4]]
    assert min(alike) > least


def test_a_small_digit_on_a_large_unevenly_lit_page(digits):
    page = np.kron(230 - 400 * ((y - 0.7) ** 2 + (x - 0.3) ** 2), np.ones((3, 3))).clip(60)
    page[300:400, 1500:1600] *= 1 - 0.7 * np.asarray(Image.fromarray(digits[0]).resize((100, 100))) / 255
    assert likeness(read_picture(photograph(page)), digits[0]) > 0.75


def test_specks_and_an_edge_do_not_move_the_digit(digits):
    dusty = np.pad(enlarged(digits[0]), 100)
    clean = read_picture(saved(dusty))
    dusty[5:8, 5:8] = dusty[470:473, 300:303] = dusty[:, :3] = 255
    assert np.array_equal(read_picture(saved(dusty)), clean)


def test_thin_strokes_become_as_wide_as_those_of_mnist():
    page = np.full((400, 400), 255, np.uint8)
    page[60:340, 195:199] = 0  # a "1" of 280 x 4 pixels: 0.3 pixels wide in the box
    picture = read_picture(saved(page))
    assert picture.max() == 255
    assert 1.2 <= picture.sum(axis=1).max() / 255 <= 2
    assert (picture.sum(axis=1) > 255).sum() in (19, 20, 21)


def test_the_frame_is_that_of_mnist_for_other_sizes_too(digits):
    for height, width in ((28, 28), (14, 14), (56, 42)):
        picture = read_picture(saved(enlarged(digits[0])), height, width)
        assert picture.shape == (height, width) and picture.dtype == np.uint8 and picture.max() == 255
        share = (np.ptp(np.argwhere(picture > 60), axis=0) + 1) / picture.shape
        assert share.max() == pytest.approx(20 / 28, abs=1.5 / min(height, width))
        assert np.abs(np.array(ndimage.center_of_mass(picture)) - (height // 2, width // 2)).max() <= 0.5


def test_the_orientation_tag_is_followed(digits):
    turned = Image.fromarray(np.rot90(255 - enlarged(digits[0])))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    file = saved(turned, "JPEG", exif=exif, quality=90)
    assert likeness(read_picture(file), digits[0]) > 0.85
    assert likeness(read_picture(saved(turned)), digits[0]) < 0.7


def test_a_picture_without_ink_is_all_black():
    shades = np.full((300, 200), 128.0), 90 + 130 * x * y
    files = [saved(np.full((1, 1), 255, np.uint8)), saved(np.zeros((50, 50, 4), np.uint8)), *map(photograph, shades)]
    assert not any(read_picture(file).any() for file in files)


def test_dark_ink_is_inverted_unless_the_settings_say_otherwise(digits):
    for digit in digits:
        dark = saved(255 - digit)
        assert np.array_equal(read_picture(dark, prepare="resize"), digit)
        assert np.array_equal(read_picture(dark, prepare="none"), 255 - digit)
    assert np.array_equal(read_picture(saved(digits[0]), prepare="resize", invert=True), 255 - digits[0])


def test_broken_pictures_are_named_in_one_line(tmp_path, digits):
    whole = saved(enlarged(digits[0])).getvalue()
    contents = {"empty.png": b"", "text.jpg": b"no picture", "cut.png": whole[: len(whole) // 2]}
    contents["exif.png"] = saved(digits[0], exif=b"Exif\x00\x00MM\x00*\x00\x00").getvalue()  # Pillow: struct.error
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}: cannot be read as an image \([^\n]+\)$"):
            read_picture(tmp_path / name)
    (tmp_path / "eps.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(UserError, match="cannot identify image file"):  # without starting Ghostscript
        read_picture(tmp_path / "eps.png")
