"""What is typed reaches a command as it was typed: paths of any kind, a printed command, an empty variable."""

import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.refusals import refusal
from helpers.runs import composed
from hydra.core.override_parser.overrides_parser import OverridesParser

from stdp_run.cli.overrides import PATHS, key_of, prepared
from stdp_run.config.custom_code import command_to_resume

NASTY = (
    *("a b", "a=b", "it's", 'a "b"', "a,b", "a(1).png", "[a].png", "{a: b}", "größe/ü", "$HOME", "a\\b", "a\\", "\\'"),
    *("2026", "true", "1e3", "'a", 'a"', "a;b&c|d", "#a", "!a", "a\tb", "*"),
)


def value_of(argument: str) -> object:
    return OverridesParser.create().parse_override(argument).value()


@pytest.mark.parametrize("value", NASTY)
def test_a_path_is_taken_as_it_is(value):
    [argument] = prepared([f"dataset.root={value}"])
    assert value_of(argument) == value
    assert composed(argument).dataset.root == value


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
        assert refusal(f"resume={tmp_path}", other).startswith(f"resume={tmp_path}: excludes -m and hydra.run.dir; ")


def test_in_a_sweep_commas_and_functions_give_several_paths():
    words = ["-m", "dataset.root=a,b", "checkpoint=choice(a,b)"]
    assert prepared(words) == words
    assert "dataset.root='a b'" in prepared(["-m", "dataset.root=a b"])


@pytest.mark.skipif(shutil.which("bash") is None, reason="has no bash")
@pytest.mark.parametrize("name", NASTY)
def test_the_printed_command_resumes_when_it_is_pasted_into_a_shell(tmp_path, name):
    directory = tmp_path / name
    directory.mkdir(parents=True)
    (directory / "config.yaml").touch()
    shell = f"stdp-run() {{ printf '%s\\n' \"$@\"; }}\n{command_to_resume(directory)}"
    pasted = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert [value_of(item) for item in prepared([pasted.removesuffix("\n")])] == [str(directory)] * 2


@pytest.mark.slow
def test_folders_and_files_of_any_name(stdp_run, tmp_path, finished_run):
    folder = tmp_path / "größe (1), 'a'"
    shutil.copytree(finished_run, folder / "run")
    compared = stdp_run("mode=compare", f"compare.dir={folder.name}")
    assert compared.returncode == 0, compared.stderr
    assert (folder / "comparison.csv").exists()
    exported = stdp_run("mode=export", f"checkpoint={folder.name}/run", f"export.to={folder.name}/a[1].npz")
    assert exported.returncode == 0, exported.stderr
    assert (folder / "a[1].npz").exists()


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
