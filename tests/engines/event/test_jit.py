"""Compiled code is kept on disk for exactly what it is made of, and leaves numba's settings as they were."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import pytest

import stdp_run
from stdp_run.engines.event import cache
from stdp_run.engines.event.jit import Bound, Kernel, namespace
from stdp_run.files import locked

rule = Bound("rule")
FACTOR = 3


def tripled(x):
    return FACTOR * x


def halved(x):
    return x / 2


def kernel(x):
    return rule.change(tripled(x))


def change(function) -> dict:
    return {"rule": namespace({"change": function}, {})}


@pytest.fixture
def root(monkeypatch, tmp_path) -> Path:
    """An empty cache; the folder for compiled code in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "stdp_run" / "compiled"


def folders(root: Path) -> set[Path]:
    return {path for path in root.iterdir() if path.is_dir()}


def test_a_kernel_is_made_of_what_it_calls_and_what_names_are_bound_to(root):
    assert Kernel(kernel, change(halved))(4) == 6
    assert Kernel(kernel, change(tripled))(4) == 36
    assert len(folders(root)) == 2


def test_a_kernel_has_one_folder_until_something_that_it_is_made_of_changes(root, monkeypatch):
    Kernel(tripled)
    Kernel(tripled)
    assert len(folders(root)) == 1
    monkeypatch.setitem(tripled.__globals__, "FACTOR", 5)
    assert Kernel(tripled)(2) == 10
    assert len(folders(root)) == 2
    monkeypatch.setattr(tripled, "__code__", (lambda x: x + 1).__code__)
    assert Kernel(tripled)(2) == 3
    assert len(folders(root)) == 3


def test_a_process_finds_what_another_has_compiled(root):
    first, second = Kernel(tripled), Kernel(tripled)
    assert first.compile("learning", 2) > 0
    assert first.compile("learning", 2) == second.compile("learning", 2) == 0


def test_the_seconds_of_compiling_are_without_those_of_waiting(root, caplog):
    caplog.set_level("INFO")
    kernel = Kernel(halved)
    [folder] = folders(root)
    with ThreadPoolExecutor(1) as pool:
        with locked(folder / "lock", wait=False, what=""):
            compiled = pool.submit(kernel.compile, "learning", 2)
            time.sleep(3)
        assert 0 < compiled.result() < 2
    assert "compiling for learning: another process is at work; waiting for it" in caplog.messages


def test_only_the_sources_of_kernels_count(tmp_path):
    # In a copy of the package: an edit of a report leaves the digest as it is, one of the engine does not.
    package = tmp_path / "stdp_run"
    source = Path(stdp_run.__file__).parent
    for file in source.rglob("*.py"):
        (package / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
        (package / file.relative_to(source)).write_bytes(file.read_bytes())
    code = "from stdp_run.engines.event.cache import ENGINE_DIGEST as d; print(d.hex())"

    def digest() -> str:
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    def edit(name: str) -> None:
        with open(package / name, "a") as file:
            file.write("\n# edited\n")

    before = digest()
    assert len(before) > 60
    edit("reporting/report.py")
    assert digest() == before
    for name in ("engines/event/interval.py", "encoding.py"):
        edit(name)
        assert digest() != before
        before = digest()


def test_numbas_setting_is_what_it_was(root):
    before = numba.config.CACHE_DIR
    inside = []

    def make(k: int) -> None:
        with cache.numba_keeps_code_in(root / str(k)):
            time.sleep(0.01)
            inside.append((numba.config.CACHE_DIR, str(root / str(k))))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(8)))
    assert all(found == expected for found, expected in inside)
    Kernel(tripled)(1)
    assert before == numba.config.CACHE_DIR


def test_where_nothing_can_be_written_code_is_compiled_all_the_same(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    compiled = Kernel(tripled)
    compiled.compile("learning", 2)
    assert compiled(2) == 6
    assert "cannot be kept" in caplog.text
