"""Where the class of a `_target_` may come from: nothing else is ever imported, whatever a checkpoint says."""

import json
import sys

import pytest
from helpers.errors import message_of

from stdp_run.config import own_code
from stdp_run.config.own_code import import_class, name_folder
from stdp_run.rules import NearestOnline, Rule

CODE = """import json

import lies_beside
from stdp_run.rules import NearestOnline


class Own(NearestOnline):
    pass
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own, no folder named, and Python's modules and path as they were."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(own_code, "_named", set())
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


@pytest.fixture
def folder(tmp_path):
    """A folder with a rule, which imports what lies beside it and leaves a trace when it is run."""
    made = tmp_path / "mine"
    made.mkdir()
    (made / "own_rule.py").write_text(CODE)
    (made / "lies_beside.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w').close()\n")
    return made


def load(target: str, folder) -> type:
    return import_class("rule", target, Rule, None if folder is None else str(folder))


def test_a_class_is_imported_from_the_folder_that_the_user_named_and_from_no_other(folder, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(folder)  # as the current folder is, in Python
    line = message_of(lambda: load("own_rule.Own", None))
    assert line == (
        "rule._target_=own_rule.Own: not in the package stdp_run; "
        "--config-dir FOLDER (in Python: config_dir=FOLDER) names the folder of a class of one's own"
    )
    line = message_of(lambda: load("own_rule.Own", folder))
    assert f"its code is said to lie in {folder}; --config-dir {folder} (in Python: config_dir=...) lets it run" in line
    assert not (tmp_path / "trace").exists() and "own_rule" not in sys.modules
    assert name_folder(folder) == str(folder)
    own = load("own_rule.Own", folder)
    assert issubclass(own, NearestOnline) and (tmp_path / "trace").exists()
    assert load("own_rule.Own", folder) is own


def test_what_was_named_once_is_remembered_by_later_processes(folder, monkeypatch):
    name_folder(folder)
    name_folder(folder)
    monkeypatch.setattr(own_code, "_named", set())
    assert load("own_rule.Own", folder).__name__ == "Own"
    assert own_code._list().read_text() == f"{folder}\n"
    elsewhere = folder.rename(folder.with_name("moved"))
    assert "is not there any more" in message_of(lambda: load("own_rule.Own", folder))
    assert "lets it run, if you trust it" in message_of(lambda: load("own_rule.Own", elsewhere))
    name_folder(elsewhere)
    assert own_code._list().read_text() == f"{elsewhere}\n"  # what is gone is not kept: another's may come there


def test_a_cache_that_cannot_be_written_is_no_obstacle(folder, tmp_path):
    (tmp_path / "cache").write_text("a file")
    name_folder(folder)
    assert load("own_rule.Own", folder).__name__ == "Own"


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("absent.Own", "there is no absent.py in "),
        ("rule.Own", "there is no rule.py in "),
        ("json.JSONDecoder", "json.py has the name of another module, "),
        ("sys.Own", "sys.py has the name of another module, one of Python's own"),
        ("broken.Own", "NameError: name 'nowhere' is not defined; in "),
        ("own_rule.Other", "AttributeError: module 'own_rule' has no attribute 'Other'; in "),
        ("own_rule.json", "must be a class derived from stdp_run.rules.base.Rule"),
        ("stdp_run.nowhere.Own", "ModuleNotFoundError: No module named 'stdp_run.nowhere'"),
        ("stdp_run.__main__.main", "must be a class derived from"),
        ("Own", "must be the path of a class, module.Class"),
        ("own_rule..Own", "must be the path of a class, module.Class"),
    ],
)
def test_what_cannot_be_imported_is_refused_in_a_line(folder, target, problem):
    (folder / "rule").mkdir()
    for name in ("json", "sys"):
        (folder / f"{name}.py").write_text(CODE)
    (folder / "broken.py").write_text("nowhere\n")
    name_folder(folder)
    line = message_of(lambda: load(target, folder))
    assert line.startswith(f"rule._target_={target}: ") and problem in line
    assert sys.modules["json"] is json and "broken" not in sys.modules


@pytest.mark.parametrize("folder", [None, "", 3, "nowhere"])
def test_only_a_folder_can_be_named(folder):
    assert "must be a folder that is there" in message_of(lambda: name_folder(folder))
