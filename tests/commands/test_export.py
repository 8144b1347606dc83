"""mode=export, as the command line asks for it."""

import numpy as np
from helpers.runs import run_in


def test_the_command_writes_the_file(finished_run, tmp_path):
    to = tmp_path / "network.npz"
    assert run_in(tmp_path, "mode=export", f"checkpoint={finished_run / 'checkpoint.pt'}", f"export.to={to}") == 0
    with np.load(to, allow_pickle=False) as arrays:
        assert arrays["weight"].shape == (100, 784)
