"""Compiled code is kept on disk for exactly what it is made of, and leaves numba's settings as they were."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import pytest

import stdp_run
from stdp_run.engines.event import jit
from stdp_run.engines.event.jit import Bound, Kernel, namespace

rule = Bound("rule")
FACTOR = 3


def tripled(x):
    return FACTOR * x


def halved(x):
    return x / 2


def kernel(x):
    return rule.change(tripled(x))


@pytest.fixture
def root(monkeypatch, tmp_path) -> Path:
    """An empty cache; the folder for compiled code in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "stdp_run" / "compiled"


def test_a_kernel_is_made_of_what_it_calls_and_what_names_are_bound_to(root):
    for change, expected in ((halved, 6), (tripled, 36)):
        assert Kernel(kernel, {"rule": namespace({"change": change}, {})})(4) == expected
    assert len(list(root.iterdir())) == 2


def test_a_kernel_has_one_folder_until_something_that_it_is_made_of_changes(root, monkeypatch):
    Kernel(tripled)
    Kernel(tripled)
    assert len(list(root.iterdir())) == 1
    monkeypatch.setitem(tripled.__globals__, "FACTOR", 5)
    assert Kernel(tripled)(2) == 10
    assert len(list(root.iterdir())) == 2
    monkeypatch.setattr(tripled, "__code__", (lambda x: x + 1).__code__)
    assert Kernel(tripled)(2) == 3
    assert len(list(root.iterdir())) == 3


def test_code_that_is_kept_is_not_compiled_again(root):
    first, second = Kernel(tripled), Kernel(tripled)
    assert first.compile("learning", 2) > 0
    assert first.compile("learning", 2) == second.compile("learning", 2) == 0


def test_only_the_sources_of_kernels_count(monkeypatch):
    read, before = Path.read_bytes, jit._engine_digest()

    def digest(edited: str) -> bytes:
        change = {Path(stdp_run.__file__).parent / edited: b"# edited"}
        monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + change.get(path, b""))
        return jit._engine_digest()

    assert digest("reporting/report.py") == before == jit.ENGINE_DIGEST
    assert len({before, digest("engines/event/interval.py"), digest("encoding.py")}) == 3


def test_numbas_setting_is_what_it_was_after_threads_have_made_kernels(root):
    before = numba.config.CACHE_DIR

    def setting(name: str) -> str:
        with jit.numba_keeps_code_in(root / name):
            time.sleep(0.01)
            return numba.config.CACHE_DIR

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(setting, "abcdefgh")) == [str(root / name) for name in "abcdefgh"]
    assert before == numba.config.CACHE_DIR


def test_where_nothing_can_be_written_code_is_compiled_all_the_same(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    compiled = Kernel(tripled)
    compiled.compile("learning", 2)
    assert compiled(2) == 6
    assert "cannot be kept" in caplog.text
