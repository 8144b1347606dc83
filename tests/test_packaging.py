"""The version, and the wheel: it carries YAML files, page template and the mark of its types, and works anywhere."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest
from helpers.pages import ROOT


def test_version_citation_and_changelog_agree():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    marks = {
        "CITATION.cff": r"^version: (.*)",
        "CITATION.bib": r"^  version = {(.*?)}",
        "README.md": r"version = {(.*?)}",
    }
    for name, mark in marks.items():
        assert re.search(mark, (ROOT / name).read_text(), re.MULTILINE)[1] == version, name
    newest = re.search(r"^## (?:Unreleased: )?([\d.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == version


@pytest.mark.slow
def test_a_wheel_is_complete_and_runs_without_the_repository(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("stdp_run-*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    package = ROOT / "stdp_run"
    expected = {path.relative_to(package) for path in package.rglob("*") if path.is_file()}
    expected = {path for path in expected if "__pycache__" not in path.parts}
    expected |= {path.relative_to(ROOT) for path in (ROOT / "conf").rglob("*.*")}
    packed = {path.relative_to(site / "stdp_run") for path in (site / "stdp_run").rglob("*") if path.is_file()}
    assert {path for path in packed if path.suffix != ".md"} == {path for path in expected if path.suffix != ".md"}
    program = "from stdp_run.cli import main; import stdp_run; print(stdp_run.__file__); main()"
    words, environment = [sys.executable, "-c", program, "--cfg", "job"], {**os.environ, "PYTHONPATH": str(site)}
    composed = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert composed.returncode == 0, composed.stderr
    assert str(site) in composed.stdout, "the wheel must be what was imported"
    assert "n_exc: 400" in composed.stdout and "theta_increment: 0.1" in composed.stdout
