"""The wheel carries the YAML files and works from any directory."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_wheel_has_every_yaml_and_runs_without_the_repository(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("stdp_run-*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    packed = {str(path.relative_to(site / "stdp_run")) for path in (site / "stdp_run" / "conf").rglob("*.yaml")}
    assert packed == {str(path.relative_to(ROOT)) for path in (ROOT / "conf").rglob("*.yaml")}
    shown = subprocess.run(
        [
            sys.executable,
            "-c",
            "from stdp_run.cli import main; import stdp_run; print(stdp_run.__file__); main()",
            "--cfg",
            "job",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert shown.returncode == 0, shown.stderr
    assert str(site) in shown.stdout, "the wheel must be what was imported"
    assert "n_exc: 400" in shown.stdout and "theta_increment: 0.1" in shown.stdout
