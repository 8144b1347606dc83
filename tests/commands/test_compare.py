"""mode=compare: the table is printed whatever becomes of the files."""

import json
from types import SimpleNamespace

import pytest

from stdp_run.commands import Invocation
from stdp_run.commands.compare import run
from stdp_run.errors import UserError


def test_the_table_is_printed_even_where_nothing_can_be_written(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("rule: {name: nearest_online}\nmode: train\nseed: 1\n")
    result = {"accuracy": {"all_activity": 0.75}, "readout": "all_activity", "split": "test"}
    (tmp_path / "run" / "result.json").write_text(json.dumps(result))
    settings = SimpleNamespace(compare=SimpleNamespace(dir=str(tmp_path)))
    assert run(settings, Invocation(tmp_path)) == 0
    printed = capsys.readouterr().out
    assert "75.00" in printed and (tmp_path / "comparison.png").exists()
    (tmp_path / "comparison.csv").unlink()
    (tmp_path / "comparison.csv").mkdir()  # nothing can replace a folder
    with pytest.raises(UserError, match="cannot be written"):
        run(settings, Invocation(tmp_path))
    assert capsys.readouterr().out == printed
