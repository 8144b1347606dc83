"""The class of a `_target_` comes from the package or a folder that the user named; nothing else is ever imported."""

import json
import sys

import pytest
from helpers.errors import message_of

from stdp_run.config import custom_code
from stdp_run.config.custom_code import command_to_resume, import_class, name_folder
from stdp_run.rules import NearestOnline, Rule

CODE = "import json, lies_beside\nfrom stdp_run.rules import NearestOnline as Own\n"


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """Restore Python's modules and path."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


@pytest.fixture
def folder(tmp_path):
    """A folder with a rule, which imports the module beside it and leaves a trace when it is run."""
    made = tmp_path / "my rules"
    made.mkdir()
    (made / "own_rule.py").write_text(CODE)
    (made / "lies_beside.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w').close()\n")
    return made


def load(target: str) -> type:
    return import_class("rule", target, Rule)


def test_a_class_is_imported_from_a_named_folder_and_from_no_other(folder, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(folder)  # as the current folder is, in Python
    assert message_of(lambda: load("own_rule.Own")) == (
        "rule._target_=own_rule.Own: no own_rule.py in stdp_run or in a named folder; "
        "--config-dir FOLDER (in Python: config_dir=FOLDER) names the folder of a custom class"
    )
    assert not (tmp_path / "trace").exists() and "own_rule" not in sys.modules
    name_folder(folder)
    own = load("own_rule.Own")
    assert own is NearestOnline and (tmp_path / "trace").exists()
    assert load("own_rule.Own") is own


def test_the_folder_that_was_named_last_comes_first(folder, tmp_path):
    assert command_to_resume(tmp_path) == f"stdp-run resume={tmp_path}"
    (tmp_path / "other").mkdir()
    for path in (folder, tmp_path / "other", folder):
        name_folder(path)
    assert custom_code.named_folders == [folder, tmp_path / "other"]
    assert command_to_resume(tmp_path) == f"stdp-run --config-dir '{folder}' resume={tmp_path}"


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("absent.Own", "no absent.py in stdp_run or in a named folder"),
        ("rule.Own", "no rule.py in stdp_run or in a named folder"),
        ("json.JSONDecoder", "json.py has the name of another module, "),
        ("sys.Own", "sys.py has the name of another module, one of Python's own"),
        ("broken.Own", "NameError: name 'nowhere' is not defined; in "),
        ("own_rule.json", "own_rule.py derived from stdp_run.rules.base.Rule"),
        ("stdp_run.nowhere.Own", "ModuleNotFoundError: No module named 'stdp_run.nowhere'"),
        ("stdp_run.files.UserError", "must be a class derived from"),
        ("Own", "must be the path of a class, module.Class"),
        ("own_rule..Own", "must be the path of a class, module.Class"),
    ],
)
def test_a_class_that_cannot_be_imported_is_refused_in_a_line(folder, target, problem):
    (folder / "rule").mkdir()
    for name in ("json", "sys"):
        (folder / f"{name}.py").write_text(CODE)
    (folder / "broken.py").write_text("nowhere\n")
    name_folder(folder)
    line = message_of(lambda: load(target))
    assert line.startswith(f"rule._target_={target}: ") and problem in line
    assert sys.modules["json"] is json and "broken" not in sys.modules
