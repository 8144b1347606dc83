"""Checkpoints: there and back without a change, at any time of learning; damaged and foreign files are refused."""

import numpy as np
from helpers.errors import message_of
from helpers.networks import same_bits
from helpers.runs import bits, settings_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from stdp_run import checkpoint
from stdp_run.checkpoint import Checkpoint
from stdp_run.config.build import build_model
from stdp_run.engines.selection import EngineOptions, make_engine
from stdp_run.network import initial_state

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


MODEL = build_model(settings_of("dataset=digits", "n_exc=20", "encoder.steps=50", "encoder.max_rate_hz=400"))
IMAGES = np.random.default_rng(0).integers(256, size=(40, 64)).astype(np.uint8)
RATES = np.linspace(1, 0.4, 40)
LEARN = st.tuples(st.just("learn"), st.integers(1, 9))
ACTIONS = st.sampled_from([("save", 0), ("resume", 0), ("evaluate", 0), ("threads", 1), ("threads", 2)])


def engine_in(state, threads=1):
    return make_engine(MODEL, state, EngineOptions(threads=threads), ("event", "cpu"))


@given(st.lists(LEARN | ACTIONS, max_size=12))
def test_in_whatever_order_a_network_learns_and_is_saved_it_becomes_the_same(tmp_path_factory, actions):
    path, seen, spikes = tmp_path_factory.mktemp("network") / "checkpoint.pt", 0, 0
    engine, index = engine_in(initial_state(MODEL)), np.arange(40)
    for action, number in [("save", 0), *actions, ("learn", 40)]:
        if action == "learn" and seen < 40:
            part = slice(seen, seen + number)
            counts = engine.learn(IMAGES[part], index[part], 0, RATES[part])
            seen, spikes = seen + len(counts), spikes + int(counts.sum())
        elif action == "save":
            arrays = engine.state().arrays()
            checkpoint.save(path, Checkpoint({}, [], arrays, global_step=seen, progress={"spikes": spikes}))
        elif action == "resume":
            saved = checkpoint.load(path)
            engine, seen, spikes = engine_in(saved.state()), saved.global_step, saved.progress["spikes"]
        elif action == "evaluate":
            engine.count_spikes(IMAGES, index)
        elif action == "threads":
            engine = engine_in(engine.state(), number)
    whole = engine_in(initial_state(MODEL))
    assert whole.learn(IMAGES, index, 0, RATES).sum() == spikes > 40
    assert same_bits(engine.state(), whole.state())


def test_any_flipped_bit_and_any_cut_is_noticed(tmp_path):
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


def test_missing_and_foreign_files_are_refused(tmp_path):
    (tmp_path / "foreign.pt").write_bytes(b"PK\x03\x04" + bytes(5000))
    for name, problem in (
        ("", "cannot be read: Is a directory"),
        ("foreign.pt", "not a checkpoint that stdp-run wrote"),
    ):
        assert problem in message_of(lambda name=name: checkpoint.load(tmp_path / name))
