"""Checkpoints: there and back without a change; damaged and foreign files are refused."""

import numpy as np
from helpers.errors import message_of
from helpers.runs import bits
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from stdp_run import checkpoint
from stdp_run.checkpoint import Checkpoint

ARRAYS = arrays(st.sampled_from(["f4", "f8", "i4", "i8", "?"]), array_shapes(min_dims=0, min_side=0, max_side=4))
PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=5)
NAMES = st.text(min_size=1, max_size=5)
TREES = st.recursive(PLAIN | ARRAYS, lambda each: st.lists(each, max_size=3) | st.dictionaries(NAMES, each, max_size=3))
CHECKPOINTS = st.builds(
    Checkpoint,
    config=st.dictionaries(NAMES, PLAIN, max_size=4),
    engine=st.just(["event", "cpu"]),
    state_dict=st.dictionaries(NAMES, ARRAYS, max_size=4),
    epoch=st.integers(0, 99),
    global_step=st.integers(0, 2**40),
    first_layer=st.none() | st.dictionaries(NAMES, ARRAYS, max_size=4),
    progress=st.none() | st.dictionaries(NAMES, TREES, max_size=4),
)


@given(CHECKPOINTS)
def test_what_was_saved_is_loaded_and_nothing_else_is_written(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("saved")
    for name in "ab":
        checkpoint.save(folder / name, content)
    saved, loaded = (
        checkpoint._converted(vars(each), np.ndarray, bits) for each in (content, checkpoint.load(folder / "a"))
    )
    assert loaded == saved
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()
    assert {file.name for file in folder.iterdir()} == {"a", "b"}


def test_any_flipped_bit_any_cut_and_a_foreign_file_are_noticed(tmp_path):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, Checkpoint({"seed": 3}, ["event", "cpu"], {"weight": np.zeros((2, 3))}))
    intact = path.read_bytes()
    flips = np.random.default_rng(0).choice(len(intact) * 8, 100, replace=False)
    for bit in [*flips, 0, len(intact) * 8 - 1]:
        damaged = bytearray(intact)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        line = message_of(lambda: checkpoint.load(path))
        assert line.startswith(f"checkpoint={path}: ") and ("damaged" in line or "not a checkpoint" in line)
    for kept in (0, 1, 50, 1000, len(intact) - 1):
        path.write_bytes(intact[:kept])
        assert "cut off" in message_of(lambda: checkpoint.load(path))
    path.write_bytes(b"PK\x03\x04" + bytes(5000))
    assert "not a checkpoint that stdp-run wrote" in message_of(lambda: checkpoint.load(path))
    assert "cannot be read: Is a directory" in message_of(lambda: checkpoint.load(tmp_path))
