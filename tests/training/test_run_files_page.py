"""docs/use/run_files.md names every key of result.json and every name in metrics.jsonl."""

import json
import re
from pathlib import Path

from helpers.runs import result_of, run_in

PAGE = (Path(__file__).parents[2] / "docs/use/run_files.md").read_text()


def keys_of(title: str) -> set[str]:
    """Return the keys in the first columns of the tables of a section."""
    section = re.split("\n##+ ", PAGE.split(f"# {title}\n")[1])[0]
    rows = re.findall(r"^\| (`[^|]*)\|", section, re.MULTILINE)
    return {key for row in rows for key in re.findall(r"`([^`]*)`", row)}


def test_the_page_has_the_keys_of_a_run_and_no_others(tmp_path, without_plots):
    few = ("n_exc=20", "n_train=60", "n_test=40", "trainer.order=by_class", "dataset.split=validation", "threads=1")
    run_in(tmp_path / "run", *few, "encoder.steps=50", "evaluator.supervised=true")
    assert keys_of("result.json") - {"first_layer", "perturbation"} == result_of(tmp_path / "run").keys()
    assert keys_of("operations") == result_of(tmp_path / "run")["operations"].keys() - {"layers"}
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    patterns = {re.sub("READOUT|NAME", "[^/]*", key) for key in keys_of("metrics.jsonl")} | {"validation/accuracy_.*"}
    names = {name for row in rows for name in row} - {"images_seen"}
    assert all(any(re.fullmatch(pattern, name) for name in names) for pattern in patterns)
    assert all(any(re.fullmatch(pattern, name) for pattern in patterns) for name in names)
