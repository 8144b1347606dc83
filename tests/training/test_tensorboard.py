"""What TensorBoard shows of runs, asked of a real server."""

import json
import re
import subprocess
import sys
import time
import urllib.request

import pytest

from stdp_run.evaluation.readouts import READOUTS

pytestmark = pytest.mark.slow
TINY = ("n_exc=20", "n_train=120", "n_test=40", "n_label=60", "trainer.log_every=20", "trainer.plot_every=50")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a TensorBoard over a sweep of two runs."""
    folder = tmp_path_factory.mktemp("board")
    command = [sys.executable, "-m", "stdp_run", "-m", *TINY, "trainer.evaluate_every=60", "rule.a_post=0.04,0.02"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600)
    board = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", "outputs", "--port", "0", "--host", "127.0.0.1"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = None
        for line in board.stderr:
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            if found:
                address = found[0]
                break
        assert address, "TensorBoard did not start"
        deadline = time.monotonic() + 600
        while len(ask(address, "/data/runs")) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        yield address
    finally:
        board.kill()
        board.communicate()


def ask(address: str, path: str, body: dict | None = None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} if data else {}
    with urllib.request.urlopen(urllib.request.Request(address + path, data, headers), timeout=30) as answer:
        raw = answer.read()
    return json.loads(raw) if "json" in answer.headers["Content-Type"] else raw


def test_each_run_is_one_run_with_scalars_and_plots(server):
    runs = ask(server, "/data/runs")
    assert len(runs) == 2, "hyperparameters must not make runs of their own"
    scalars = ask(server, "/data/plugin/scalars/tags")
    images = ask(server, "/data/plugin/images/tags")
    for run in runs:
        assert {
            *("train/running_accuracy", "train/spikes_per_image", "train/silent_neurons", "network/theta_mean"),
            *("evaluation/accuracy_all_activity", "test/accuracy_all_activity", "test/accuracy_proportion"),
            *("accuracy_per_class/0", "accuracy_per_class/1"),
        } <= set(scalars[run])
        assert set(images[run]) == {
            *("receptive_fields", "weight_change", "theta", "weights", "raster"),
            *("confusion", "neurons_per_class", "accuracy", "accuracy_per_class"),
        }
        points = ask(server, f"/data/plugin/scalars/scalars?tag=train/spikes_per_image&run={run}".replace(" ", "%20"))
        assert [step for _, step, _ in points] == [20, 40, 60, 80, 100, 120]


def test_plots_are_png_files_with_their_size(server):
    from io import BytesIO

    from PIL import Image

    run = ask(server, "/data/runs")[0]
    entries = ask(server, f"/data/plugin/images/images?tag=receptive_fields&run={run}&sample=0")
    assert [entry["step"] for entry in entries] == [50, 100, 120]
    for entry in entries:
        image = Image.open(BytesIO(ask(server, f"/data/plugin/images/individualImage?{entry['query']}")))
        assert image.format == "PNG" and min(image.size) > 300


def test_hyperparameters_come_with_their_accuracy(server):
    experiment = ask(server, "/data/plugin/hparams/experiment", {"experimentName": ""})
    names = {info["name"] for info in experiment["hparamInfos"]}
    assert {"rule.name", "rule.a_post", "n_exc", "seed", "neuron.w_ie", "encoder.steps"} <= names
    metrics = [info["name"] for info in experiment["metricInfos"]]
    tags = {metric["tag"] for metric in metrics}
    assert tags == {f"test/accuracy_{name}" for name in READOUTS}
    asked = {
        "experimentName": "",
        "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
        "colParams": [{"metric": metric} for metric in metrics],
        "startIndex": 0,
        "sliceSize": 10,
    }
    groups = ask(server, "/data/plugin/hparams/session_groups", asked)["sessionGroups"]
    assert sorted(group["hparams"]["rule.a_post"] for group in groups) == [0.02, 0.04]
    for group in groups:
        values = {value["name"]["tag"]: value["value"] for value in group["metricValues"]}
        assert set(values) == tags and all(0 <= value <= 1 for value in values.values())
