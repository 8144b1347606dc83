"""The report of a run: one file that a browser shows without anything else, with the figures of result.json."""

import base64
import html
import json
import re

import pytest
from PIL import Image

from stdp_run.errors import UserError, printable
from stdp_run.reporting.report import write_report
from stdp_run.training.result import judged

PLOTS = (
    *("receptive_fields", "accuracy", "accuracy_per_class", "confusion", "neurons_per_class"),
    *("theta", "weights", "raster"),
)
# What could make a browser load or run something.
LOADING = (
    r"<(script|link|iframe|object|embed|form)|\b(href|srcset|style|on\w+)=|src=\"(?!data:image/png;)|url\(|@import"
)


def text_of(page: str) -> str:
    """Return what a browser shows of a page, whose tags must be closed."""
    for tag in ("style", "table", "tr", "th", "td", "figure", "details", "pre", "main", "body"):
        assert len(re.findall(rf"<{tag}\b", page)) == page.count(f"</{tag}>"), tag
    shown = re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(shown))


def result(**changes) -> dict:
    readouts = ("all_activity", "proportion")
    return {
        "rule": "nearest_online",
        "neuron": "lif_stdp",
        "dataset": "mnist",
        "split": "test",
        "engine": "event",
        "device": "cpu",
        "dtype": "float32",
        "seed": 7,
        "n_exc": 6400,
        "epochs": 3,
        "batch_size": 1,
        "train_images": 60000,
        "test_images": 1000,
        "readout": "all_activity",
        "accuracy": dict(zip(readouts, (0.9261, 0.928), strict=True)),
        "accuracy_interval_95": dict(zip(readouts, ([0.9208, 0.9311], [0.9228, 0.9329]), strict=True)),
        "accuracy_per_class": {name: {"0": 0.98, "1": 0.5, "2": None} for name in readouts},
        "confusion": {name: [[98, 1, 1, 0], [450, 450, 0, 0], [0, 0, 0, 0]] for name in readouts},
        "silent_neurons": 12,
        "train_images_per_second": 2303.4,
        "eval_images_per_second": 2746.1,
        "wall_seconds": 71.4,
        "versions": {"python": "3.11.7", "stdp-run": "0.1.0"},
        "commit": "0123456789ab-dirty",
    } | changes


def write_run(directory, **changes):
    (directory / "result.json").write_text(json.dumps(result(**changes)))
    (directory / "config.yaml").write_text("rule:\n  name: <nearest & online>\n")
    for name in PLOTS:
        Image.new("RGB", (len(name), 20), "red").save(directory / f"{name}.png")
    return directory


def report(directory) -> str:
    write_report(directory)
    page = (directory / "report.html").read_text(encoding="utf-8")
    assert not re.search(LOADING, page), "it stands alone"
    return page


def plots_of(page: str) -> list[bytes]:
    return [base64.b64decode(data) for data in re.findall(r'alt="[\w ]+" src="data:image/png;base64,(.*?)"', page)]


def test_the_figures_of_the_run_are_there(tmp_path):
    text = text_of(report(write_run(tmp_path, forgetting=0.25, forgetting_per_class={"0": 0.5, "1": 0.0})))
    for words in (
        "forgetting, all_activity 25.00%, peak accuracy minus final accuracy, mean over 2 classes",
        "92.61%",
        "accuracy on 1,000 test images (95% interval 92.08% to 93.11%), readout all_activity",
        "learning rule nearest_online",
        "neuron group lif_stdp",
        "dataset mnist, test images",
        "excitatory neurons 6,400",
        "epochs 3 over 60,000 training images",
        "seed 7",
        "accuracy, proportion 92.80% (95% interval 92.28% to 93.29%)",
        "images per second 2,303 learning, 2,746 evaluating",
        "silent neurons 12 of 6,400",
        "wall time 0:01:11",
        "commit 0123456789ab-dirty",
        "versions python 3.11.7, stdp-run 0.1.0",
        "0 100 98.00%",
        "1 900 50.00%",
        "2 0 -",
    ):
        assert words in text, words


def test_the_page_is_one_file_with_every_plot(tmp_path):
    page = report(write_run(tmp_path))
    assert plots_of(page) == [(tmp_path / f"{name}.png").read_bytes() for name in PLOTS]
    assert page.count("<figcaption>") == len(PLOTS) and '<html lang="en">' in page
    assert "<summary>" in page and "rule: name: <nearest & online>" in text_of(page)


def test_names_cannot_break_the_page(tmp_path):
    nasty = '</style><script>alert("1")</script>&amp;\x1b[31m'
    changes = {"accuracy_per_class": {"all_activity": {nasty: 0.5}}, "confusion": {"all_activity": [[1, 1]]}}
    page = report(write_run(tmp_path, rule=nasty, dataset=nasty, commit=nasty, **changes))
    assert text_of(page).count(printable(nasty)) == 8  # two each in title and heading, three rows, one class


def test_what_is_missing_is_left_out(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(result(train_images_per_second=None, commit=None)))
    page = report(tmp_path)
    assert not any(word in page for word in ("<img", "<details", "Plots", "Settings"))
    assert "images per second 2,746 evaluating" in text_of(page) and "commit not from a checkout" in text_of(page)


def test_the_report_on_patches_names_no_share_of_right_answers(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(result(dataset="patches")))
    text = text_of(report(tmp_path))
    assert "have no classes, and so no accuracy." in text and "%" not in text and "per class" not in text


def test_a_run_without_an_intact_result_is_said(tmp_path):
    for damage in (lambda: None, lambda: (tmp_path / "result.json").write_text("{")):
        damage()
        with pytest.raises(UserError, match=r"result\.json: must be the intact result of a complete run: .+"):
            write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.slow
def test_a_real_run_leaves_its_report(stdp_run, tmp_path):
    done = stdp_run("debug=smoke", f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    page = (run / "report.html").read_text(encoding="utf-8")
    assert sorted(plots_of(page)) == sorted(path.read_bytes() for path in run.glob("*.png"))
    accuracy = judged(json.loads((run / "result.json").read_text()))
    assert f"{accuracy:.2%} accuracy on 100 test images" in text_of(page)
    assert " ".join((run / "config.yaml").read_text().split()) in text_of(page)
