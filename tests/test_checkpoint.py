import numpy as np
import pytest

from stdp_run import checkpoint
from stdp_run.checkpoint import Checkpoint
from stdp_run.errors import UserError

CONTENT = Checkpoint(
    config={"seed": 3, "rule": {"name": "nearest_online"}},
    arrays={"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "theta": np.array([0.1, 1e-300])},
    position={"images": 7},
    extra={"label": np.array([1, -1]), "windows": [{"sums": np.eye(2)}]},
)


def test_what_was_saved_is_loaded(tmp_path):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, CONTENT)
    loaded = checkpoint.load(path)
    assert (loaded.config, loaded.position) == (CONTENT.config, CONTENT.position)
    for name, array in CONTENT.arrays.items():
        assert loaded.arrays[name].dtype == array.dtype
        assert loaded.arrays[name].tobytes() == array.tobytes()
    assert loaded.extra["windows"][0]["sums"].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_saving_twice_gives_the_same_bytes(tmp_path):
    checkpoint.save(tmp_path / "a.pt", CONTENT)
    checkpoint.save(tmp_path / "b.pt", CONTENT)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_any_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, CONTENT)
    intact = path.read_bytes()
    places = np.random.default_rng(0).choice(len(intact) * 8, 300, replace=False)
    for place in [*places, 0, len(intact) * 8 - 1]:
        damaged = bytearray(intact)
        damaged[place // 8] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"checkpoint=.*(damaged|not a checkpoint)"):
            checkpoint.load(path)


@pytest.mark.parametrize("keep", [0, 1, 50, 1000])
def test_a_cut_file_is_noticed(tmp_path, keep):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, CONTENT)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="cut off"):
        checkpoint.load(path)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.pt: cannot be read: No such file"):
        checkpoint.load(tmp_path / "nowhere.pt")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        checkpoint.load(tmp_path)
    foreign = tmp_path / "foreign.pt"
    foreign.write_bytes(b"PK\x03\x04" + bytes(5000))
    with pytest.raises(UserError, match="not a checkpoint that stdp-run wrote"):
        checkpoint.load(foreign)


def test_the_network_of_a_checkpoint_is_its_state():
    arrays = {**CONTENT.arrays, "y": np.ones(2)}
    state = Checkpoint({}, arrays).state()
    assert state.weight is arrays["weight"] and state.theta is arrays["theta"] and state.persistent.keys() == {"y"}
