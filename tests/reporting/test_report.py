"""The report of a run: one self-contained HTML file with the figures of result.json and every plot."""

import base64
import html
import json
import re

import pytest
from PIL import Image

from stdp_run.errors import UserError, printable
from stdp_run.reporting.report import write_report

# Matches what makes a browser load or run something.
LOADING = r"<(script|link|iframe|form)|\b(href|srcset|style|on\w+)=|src=\"(?!data:image/png;)|url\(|@import"


def text_of(page: str) -> str:
    """Return the text that a browser shows; every tag must be closed."""
    for tag in ("style", "table", "tr", "th", "td", "figure", "details", "pre", "main", "body"):
        assert len(re.findall(rf"<{tag}\b", page)) == page.count(f"</{tag}>"), tag
    shown = re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(shown))


RESULT = {
    **{"rule": "nearest_online", "neuron": "lif_stdp", "dataset": "mnist", "split": "test", "engine": "event"},
    **{"device": "cpu", "dtype": "float32", "seed": 7, "n_exc": 6400, "epochs": 3, "batch_size": 1},
    **{"train_images": 60000, "test_images": 1000, "readout": "all_activity", "silent_neurons": 12},
    "accuracy": {"all_activity": 0.9261, "proportion": 0.928},
    "accuracy_interval_95": {"all_activity": [0.9208, 0.9311], "proportion": [0.9228, 0.9329]},
    "accuracy_per_class": {"all_activity": {"0": 0.98, "1": 0.5, "2": None}},
    "confusion": {"all_activity": [[98, 1, 1, 0], [450, 450, 0, 0], [0, 0, 0, 0]]},
    **{"train_images_per_second": 2303.4, "eval_images_per_second": 2746.1, "wall_seconds": 71.4},
    "operations": {"synaptic_operations": {"Effective_ACs": 1234567.8, "Dense": 9e7}, "energy_uj": 1.1111},
    **{"versions": {"python": "3.11.7", "stdp-run": "0.1.0"}, "commit": "0123456789ab-dirty"},
}


def report(directory, **changes) -> str:
    (directory / "result.json").write_text(json.dumps(RESULT | changes))
    write_report(directory)
    page = (directory / "report.html").read_text(encoding="utf-8")
    assert not re.search(LOADING, page), "it stands alone"
    return page


def test_the_report_has_the_figures_of_the_run(tmp_path):
    supervised = {"accuracy": 0.9735, "n_features": 8704, "label_images": 60000}
    changes = {"forgetting": 0.25, "forgetting_per_class": {"0": 0.5, "1": 0.0}, "supervised": supervised}
    first = {"n_exc": 64, "silent_neurons": 2, "spikes_per_image": 1234.5, "active_inputs": 0.25}
    changes["first_layer"] = first | {"largest_cosine": 0.98765}
    text = text_of(report(tmp_path, **changes))
    for words in (
        "accuracy on 1,000 test images (95% interval 92.08% to 93.11%), readout all_activity",
        "learning rule nearest_online neuron group lif_stdp dataset mnist, test images excitatory neurons 6,400",
        "epochs 3 over 60,000 training images seed 7 engine event on cpu, float32, batch size 1",
        "accuracy, proportion 92.80% (95% interval 92.28% to 93.29%)",
        "supervised readout 97.35%, a linear classifier on 8,704 features, fitted with the labels of 60,000 images;",
        "forgetting, all_activity 25.00%, peak accuracy minus final accuracy, mean over 2 classes",
        "images per second 2,303 learning, 2,746 evaluating operations per image 1,234,568 effective accumulates, "
        "90,000,000 dense; theoretical energy 1.11 µJ silent neurons 12 of 6,400 "
        "first layer 64 neurons, 2 of them silent; 1,234 spikes per image; "
        "25.00% of the second layer's inputs are not 0; "
        "the largest cosine between two filters is 0.988 wall time 0:01:11",
        "commit 0123456789ab-dirty versions python 3.11.7, stdp-run 0.1.0",
        "0 100 98.00% 1 900 50.00% 2 0 -",
    ):
        assert words in text, words


def test_the_page_is_one_file_with_every_plot_and_the_settings(tmp_path):
    names = ("receptive_fields", "accuracy", "accuracy_per_class", "raster")
    for name in names:
        Image.new("RGB", (len(name), 20), "red").save(tmp_path / f"{name}.png")
    (tmp_path / "config.yaml").write_text("rule:\n  name: <nearest & online>\n")
    page = report(tmp_path)
    found = re.findall(r'alt="[\w ]+" src="data:image/png;base64,(.*?)"', page)
    assert list(map(base64.b64decode, found)) == [(tmp_path / f"{name}.png").read_bytes() for name in names]
    assert page.count("<figcaption>") == len(names) and '<html lang="en">' in page
    assert "<summary>" in page and "rule: name: <nearest & online>" in text_of(page)


def test_names_cannot_break_the_page(tmp_path):
    nasty = '</style><script>alert("1")</script>&amp;\x1b[31m'
    changes = {"accuracy_per_class": {"all_activity": {nasty: 0.5}}, "confusion": {"all_activity": [[1, 1]]}}
    page = report(tmp_path, rule=nasty, dataset=nasty, commit=nasty, **changes)
    assert text_of(page).count(printable(nasty)) == 8  # two each in title and heading, three rows, one class


def test_missing_parts_are_left_out(tmp_path):
    page = report(tmp_path, train_images_per_second=None, commit=None)
    assert not any(word in page for word in ("<img", "<details", "Plots", "Settings"))
    assert "supervised" not in page
    assert "images per second 2,746 evaluating" in text_of(page) and "commit not from a checkout" in text_of(page)
    text = text_of(report(tmp_path, dataset="patches"))
    assert "have no classes, and so no accuracy." in text and "%" not in text and "per class" not in text


def test_a_run_without_an_intact_result_is_refused(tmp_path):
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(UserError, match=r"result\.json: must be the intact result of a complete run: .+"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
