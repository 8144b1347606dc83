"""What is typed reaches a command as it was typed: paths of any kind, a printed command, an empty variable."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers.errors import message_of
from helpers.runs import composed
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st

from stdp_run.cli.jobs import folder_name
from stdp_run.cli.overrides import PATHS, key_of, prepared
from stdp_run.cli.python import as_override
from stdp_run.config.custom_code import command_to_resume

NASTY = (
    *("a b", "a=b", "it's", 'a "b"', "a,b", "a(1).png", "[a].png", "{a: b}", "größe/ü", "$HOME", "a\\b", "a\\", "\\'"),
    *("2026", "true", "1e3", "'a", 'a"', "a;b&c|d", "#a", "!a", "a\tb", "*"),
)


def value_of(argument: str) -> object:
    return OverridesParser.create().parse_override(argument).value()


def as_examples(test):
    for value in NASTY:
        test = example(value)(test)
    return test


def is_a_name(text: str) -> bool:
    """Return whether a text stands for itself: no null, home folder, quotation or interpolation."""
    return not (text.lower() == "null" or text.startswith("~") or "${" in text or re.fullmatch(r"(['\"]).*\1", text))


@as_examples
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1).filter(str.strip).filter(is_a_name))
def test_a_path_is_taken_as_it_is(value):
    [argument] = prepared([f"dataset.root={value}"])
    assert value_of(argument) == value


def test_a_path_is_composed_as_it_is():
    assert composed(*prepared([f"dataset.root={' '.join(NASTY)}"])).dataset.root == " ".join(NASTY)


TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"])).filter(lambda text: "${" not in text)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS.map("a, {}".format)
KEYS = st.text("abc_", min_size=1)


@given(st.recursive(VALUES, lambda each: st.lists(each) | st.dictionaries(KEYS, each), max_leaves=4))
@example({"one": "a]b", "two": False})
@example(["x, y", 2.5, None])
@example("0.1 per input")
@example(np.int64(3))
def test_values_of_python_are_taken_as_they_are(value):
    [argument] = prepared([f"rule.a={as_override('rule.a', value)}"])
    assert value_of(argument) == value


@given(st.lists(st.text(), unique=True, min_size=2, max_size=4))
@example([f"data-a{separator}b" for separator in (".", ",", "-", "/", " ", "")])
@example([f"{'a.key-value_' * 50}{end}" for end in "ab"])
def test_names_of_folders_are_short_and_differ_as_their_settings_do(texts):
    names = [folder_name(text) for text in texts]
    assert len(set(names)) == len(texts) and all(re.fullmatch(r"[A-Za-z0-9._-]{1,90}", name) for name in names)
    assert folder_name("n_exc-20_seed-1") == "n_exc-20_seed-1"


def test_every_key_with_a_path_has_the_users_folder_quotes_and_null():
    for key in set(PATHS) - {"resume"}:
        assert value_of(prepared([f"{key}=~/x"])[0]) == f"{Path.home()}/x"
        assert value_of(prepared([f"+{key}='a b'"])[0]) == "a b"
        assert value_of(prepared([f"{key}=null"])[0]) is None
        assert value_of(prepared([f"{key}=a/${{seed}}"])[0]) == "a/${seed}"
    assert prepared(["rule.name=a b", "resume=auto"]) == ["rule.name=a b", "resume='auto'"]


def test_one_of_two_directories_is_refused(tmp_path):
    (tmp_path / "config.yaml").touch()
    for other in ("hydra.run.dir=elsewhere", "-m"):
        line = message_of(lambda other=other: prepared([f"resume={tmp_path}", other]))
        assert line.startswith(f"resume={tmp_path}: excludes -m and hydra.run.dir; ")


def test_in_a_sweep_commas_and_functions_give_several_paths():
    words = ["-m", "dataset.root=a,b", "checkpoint=choice(a,b)"]
    assert prepared(words) == words
    assert "dataset.root='a b'" in prepared(["-m", "dataset.root=a b"])


@pytest.mark.skipif(shutil.which("bash") is None, reason="has no bash")
def test_the_printed_command_resumes_when_it_is_pasted_into_a_shell(tmp_path):
    for name in NASTY:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").touch()
    commands = "\n".join(command_to_resume(tmp_path / name) for name in NASTY)
    shell = f"stdp-run() {{ printf '%s\\0' \"$@\"; }}\n{commands}"
    pasted = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    for name, argument in zip(NASTY, pasted.split("\0"), strict=False):
        assert [value_of(item) for item in prepared([argument])] == [str(tmp_path / name)] * 2


def test_the_directory_of_a_run_may_stand_for_its_first_layer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a run").mkdir()
    assert prepared(["first_layer=a run"]) == ["first_layer=patches", "first_layer.run='a run'"]
    assert prepared(["first_layer=out/1,2"]) == ["first_layer=patches", "first_layer.run='out/1,2'"]
    assert prepared(["-m", "first_layer=out/1,out/2"])[1:3] == ["first_layer=patches", "first_layer.run=out/1,out/2"]
    for as_it_is in ("first_layer=patches", "first_layer=none"):
        assert prepared([as_it_is]) == [as_it_is]


def test_a_group_in_a_section_is_named_by_its_place():
    assert key_of("rule@first_layer.rule=full_online") == "first_layer.rule"
    assert key_of("+rule.a_post=0.1") == "rule.a_post"
