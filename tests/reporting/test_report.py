"""The report of a run: one file that a browser shows without anything else, with the figures of result.json."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from stdp_run.errors import UserError
from stdp_run.reporting.report import write_report
from stdp_run.training.result import judged

PLOTS = (
    *("receptive_fields", "accuracy", "accuracy_per_class", "confusion", "neurons_per_class"),
    *("weight_change", "theta", "weights", "raster"),
)
VOID = {"meta", "img", "br", "hr", "link", "input"}
# What could make a browser load something.
LOADING = {"script", "link", "iframe", "object", "embed", "audio", "video", "source", "base", "form"}


class Page(HTMLParser):
    """Reads a page, which must be balanced, into its tags, attributes and text."""

    def __init__(self, html: str):
        super().__init__()
        self.tags, self.open, self.texts, self.ids = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


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
    rows = [
        {"images_seen": 1000 * k, "train/running_accuracy": None if k == 1 else k / 100, "train/silent_neurons": 1234}
        for k in range(1, 61)
    ]
    rows.append({"images_seen": 60000, "evaluation/accuracy_all_activity": 0.9})
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in PLOTS:
        Image.new("RGB", (len(name), 20), "red").save(directory / f"{name}.png")
    return directory


def report(directory) -> Page:
    write_report(directory)
    return Page((directory / "report.html").read_text(encoding="utf-8"))


def assert_stands_alone(page: Page) -> None:
    """Nothing in the page is loaded from anywhere."""
    assert not LOADING & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not {"href", "srcset", "style"} & set(attributes) or set(attributes) == {"style"}
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:").startswith("data:")
    style = page.texts[page.texts.index(next(text for text in page.texts if "color-scheme" in text))]
    assert "url(" not in style and "@import" not in style and "http" not in style


def plots_of(page: Page) -> list[bytes]:
    found = []
    for image in page.all("img"):
        kind, data = image["src"].split(",", 1)
        assert kind == "data:image/png;base64"
        png = base64.b64decode(data, validate=True)
        opened = Image.open(io.BytesIO(png))
        opened.load()
        assert opened.size == (int(image["width"]), int(image["height"]))
        assert len(image["alt"]) > 20
        found.append(png)
    return found


def test_the_figures_of_the_run_are_there(tmp_path):
    page = report(write_run(tmp_path, forgetting=0.25, forgetting_per_class={"0": 0.5, "1": 0.0}))
    for words in (
        "forgetting, all_activity 25.00%, the mean over 2 classes of the best accuracy on the way less that at the end",
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
        "wall time 1 min 11 s",
        "commit 0123456789ab-dirty",
        "versions python 3.11.7, stdp-run 0.1.0",
        "0 100 98.00%",
        "1 900 50.00%",
        "2 0 -",
    ):
        assert words in page.text, words


def test_the_page_is_one_file_with_every_plot(tmp_path):
    page = report(write_run(tmp_path))
    assert_stands_alone(page)
    assert plots_of(page) == [(tmp_path / f"{name}.png").read_bytes() for name in PLOTS]
    assert len(page.all("figure")) == len(page.all("figcaption")) == len(PLOTS)
    assert page.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert {"header", "main", "section", "footer", "h1", "h2"} <= {tag for tag, _ in page.tags}


def test_settings_and_metrics_can_be_unfolded(tmp_path):
    page = report(write_run(tmp_path))
    assert len(page.all("details")) == len(page.all("summary")) == 2
    assert "rule: name: <nearest & online>" in page.text
    assert "20 of 60 rows of metrics.jsonl" in page.text
    assert "3,000 3.00% - 1,234" in page.text and "60,000 60.00% - 1,234" in page.text


def test_names_cannot_break_the_page(tmp_path):
    nasty = '</style><script>alert("1")</script>&amp;'
    shares = {nasty: 0.5}
    page = report(
        write_run(
            tmp_path,
            rule=nasty,
            dataset=nasty,
            commit=nasty,
            accuracy_per_class={"all_activity": shares},
            confusion={"all_activity": [[1, 1]]},
        )
    )
    assert_stands_alone(page)
    assert page.text.count(nasty) == 8  # two each in title and heading, three rows, one class


def test_what_is_missing_is_left_out(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(result(train_images_per_second=None, commit=None)))
    (tmp_path / "theta.png").write_bytes(b"no PNG file")
    page = report(tmp_path)
    assert page.all("img") == page.all("details") == []
    assert "Plots" not in page.text and "Settings" not in page.text
    assert "images per second 2,746 evaluating" in page.text and "commit not from a checkout" in page.text


@pytest.mark.parametrize(("seconds", "said"), [(9.94, "9.9 s"), (60, "1 min 0 s"), (7322.4, "2 h 2 min 2 s")])
def test_the_wall_time_is_said_in_usual_units(tmp_path, seconds, said):
    assert f"wall time {said} " in report(write_run(tmp_path, wall_seconds=seconds)).text


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read: No such file"), ("{", "damaged")])
def test_a_run_without_a_result_is_said(tmp_path, content, said):
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(UserError, match=rf"result\.json: {said}"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_report_is_written_in_full_or_not_at_all(tmp_path):
    write_run(tmp_path)
    (tmp_path / "report.html").mkdir()  # nothing can replace a folder
    names = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=r"report\.html: cannot be written"):
        write_report(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.slow
def test_a_real_run_leaves_its_report(stdp_run, tmp_path):
    done = stdp_run("debug=smoke", f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    assert_stands_alone(page)
    assert sorted(plots_of(page)) == sorted(path.read_bytes() for path in run.glob("*.png"))
    accuracy = judged(json.loads((run / "result.json").read_text()))
    assert f"{accuracy:.2%} accuracy on 200 test images" in page.text
    settings = page.texts[page.texts.index("All settings, config.yaml") + 2]
    assert (run / "config.yaml").read_text().split() == settings.split()
