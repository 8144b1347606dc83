"""scripts/bench_two_layers.py and ablate_first_layer.py on few images."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
FEW = ("--", "n_train=400", "n_label=300", "n_test=100", "epochs=1")


def done(script: str, *arguments: str) -> str:
    words = [sys.executable, SCRIPTS / script, *arguments]
    finished = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.slow
def test_the_whole_and_the_answers_of_the_first_layer_are_measured():
    text = done("bench_two_layers.py", "--preset", "two_layers_100", "--repeats", "1", *FEW)
    [patches, times] = re.findall(r"first layer: ([\d,]+) patches/s on one core, ([\d.]+) times", text)[0]
    assert int(patches.replace(",", "")) > 1000 and float(times) > 1
    assert re.search(r"experiment=two_layers_100 n_train=400.*: [\d.]+ s .*at most [\d,]+ MiB", text)


@pytest.mark.slow
def test_every_kind_of_first_layer_has_a_row():
    variants = ("base", "no first layer", "STDP filters, cosine", "k-means filters, cosine", "random patches, cosine")
    text = done("ablate_first_layer.py", "--seeds", "0", "--variants", *variants, *FEW)
    rows = dict(re.findall(r"^\| ([^|]+) \| ([\d.]+) \|", text, re.MULTILINE))
    assert rows.keys() == set(variants) and all(20 < float(value) <= 100 for value in rows.values())
