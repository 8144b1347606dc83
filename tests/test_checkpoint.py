import numpy as np
from helpers.errors import message_of

from stdp_run import checkpoint
from stdp_run.checkpoint import Checkpoint

CONTENT = Checkpoint(
    config={"seed": 3, "rule": {"name": "nearest_online"}},
    engine=["event", "cpu"],
    state_dict={"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "theta": np.array([0.1, 1e-300])},
    epoch=1,
    global_step=7,
    progress={"images": 7, "wall_seconds": 0.1, "estimate": [[np.eye(2), np.array([1, 2])]]},
)


def test_what_was_saved_is_loaded_and_nothing_else_is_written(tmp_path):
    for name in "ab":
        checkpoint.save(tmp_path / name, CONTENT)
    loaded = checkpoint.load(tmp_path / "a")
    np.testing.assert_equal(vars(loaded), vars(CONTENT))
    assert loaded.state_dict["weight"].dtype == np.float32
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {"a", "b"}


def test_any_flipped_bit_and_any_cut_is_noticed(tmp_path):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, CONTENT)
    intact = path.read_bytes()
    flips = np.random.default_rng(0).choice(len(intact) * 8, 300, replace=False)
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
        ("nowhere.pt", "cannot be read: No such file"),
        ("", "cannot be read: Is a directory"),
        ("foreign.pt", "not a checkpoint that stdp-run wrote"),
    ):
        assert problem in message_of(lambda name=name: checkpoint.load(tmp_path / name))


def test_the_state_of_a_checkpoint_has_what_the_rule_keeps():
    arrays = {**CONTENT.state_dict, "y": np.ones(2)}
    saved = Checkpoint({}, [], arrays, first_layer=CONTENT.state_dict)
    assert saved.state().arrays() == arrays and saved.state().persistent.keys() == {"y"}
    assert saved.first_state().arrays() == CONTENT.state_dict and CONTENT.first_state() is None
