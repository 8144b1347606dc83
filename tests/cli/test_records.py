"""A command that is refused changes nothing in a run and leaves nothing behind; one that is accepted is recorded."""

import shutil
from pathlib import Path

import pytest
from helpers.runs import TINY
from omegaconf import OmegaConf

REFUSED = [
    ("n_exc=77 hydra.run.dir=run", "holds a run with other settings: n_exc=77 (there: 100)"),
    ("resume=run n_exc=77", "holds a run with other settings: n_exc=77 (there: 100)"),
    ("resume=null hydra.run.dir=run", "holds a run; resume=auto resumes it"),
    ("mode=eval checkpoint=run hydra.run.dir=run", "holds the files of mode=train; choose another hydra.run.dir"),
    ("mode=stdp_window hydra.run.dir=run", "holds the files of mode=train; choose another hydra.run.dir"),
    ("n_train=60001 hydra.run.dir=run", "holds a run with other settings"),
    ("n_train=60001", "n_train=60001: must be at most 60000"),
    ("n_train=60001 hydra.run.dir=new/er", "n_train=60001: must be at most 60000"),
    ("mode=eval checkpoint=run n_exc=3", "was made with other settings"),
]


def everything(folder: Path) -> dict[Path, tuple]:
    """Return every folder, and every file with its content and the time when it was written."""
    found = sorted(folder.rglob("*"))
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else () for path in found}


@pytest.mark.parametrize(
    ("arguments", "expected"), [REFUSED[0], *(pytest.param(*case, marks=pytest.mark.slow) for case in REFUSED[1:])]
)
def test_a_refused_command_changes_nothing(stdp_run, tmp_path, finished_run, arguments, expected):
    shutil.copytree(finished_run, tmp_path / "run")
    (tmp_path / "run" / ".hydra").mkdir()
    (tmp_path / "run" / ".hydra" / "overrides.yaml").write_text("- n_exc=100\n")
    (tmp_path / "run" / "run.log").write_text("the log\n")
    before = everything(tmp_path)
    done = stdp_run(*arguments.split())
    assert done.returncode == 2
    assert expected in done.stderr
    assert everything(tmp_path) == before


@pytest.mark.slow
def test_an_accepted_command_is_recorded_and_one_that_resumes_it_leaves_the_record(stdp_run, tmp_path):
    words = [*TINY, "hydra.run.dir=run", "n_test=41"]
    assert stdp_run(*words).returncode == 0
    records = tmp_path / "run" / ".hydra"
    assert OmegaConf.load(records / "overrides.yaml") == [*TINY, "n_test=41"]
    assert OmegaConf.load(records / "config.yaml").n_test == 41
    assert OmegaConf.load(records / "hydra.yaml").hydra.runtime.output_dir == str(tmp_path / "run")
    log = (tmp_path / "run" / "run.log").read_text()
    assert log.count("test accuracy") == 1
    before = everything(tmp_path / "run")
    complete = stdp_run(*words)
    assert complete.returncode == 0 and "silent neurons" in complete.stdout
    assert everything(tmp_path / "run") == before
    (tmp_path / "run" / "result.json").write_text("damaged")
    again = stdp_run("resume=run", "threads=1")
    assert again.returncode == 0, again.stderr
    assert (records / "overrides.yaml").read_bytes() == before[records / "overrides.yaml"][0]
    assert (tmp_path / "run" / "run.log").read_text().startswith(log)
