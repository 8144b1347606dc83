"""The pages for people: their size, their links, and that every command, example and program on them works."""

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.pages import PAGES, ROOT, commands, name_of, programs, shell_lines, write_files
from helpers.runs import result_of, rows_of, run_in, settings_of
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser

from stdp_run import checkpoint
from stdp_run.cli.overrides import prepared
from stdp_run.config.build import conf_folder
from stdp_run.engines.dense.presentation import record_spikes
from stdp_run.inference.export import export
from stdp_run.inference.load import read_trained

FEW = ("n_exc=20", "n_train=100", "n_test=50", "n_label=100", "encoder.steps=50", "threads=1", "hydra.run.dir=run")
SIZES = {"README.md": 6_000, "CONTRIBUTING.md": 8_000}  # bytes; others have 12,000
COMMANDS = commands()
EXAMPLES = [words for words in COMMANDS if "--config-dir" in words and "-m" not in words]
PROGRAMS = {"stdp-run", "python", "pip", "pytest", "ruff", "mypy", "tensorboard", "jupyter", ".ci/run", ""}
all_pages = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder with all files that the pages show, and a run and a file of arrays of the names that they use."""
    folder = tmp_path_factory.mktemp("pages")
    write_files(folder)
    (folder / "RUN").mkdir()
    (folder / "RUN" / "config.yaml").touch()
    np.savez(folder / "FILE.npz", x=np.zeros((20, 8, 8), np.uint8), y=np.arange(20) % 2)
    return folder


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """The pages that are made when the site is built, by their paths in the repository."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        from settings import write_pages
    folder = tmp_path_factory.mktemp("settings")
    write_pages(conf_folder(), folder)
    return {ROOT / "docs/reference/settings" / page.name: page for page in folder.iterdir()}


def test_pages_are_no_longer_than_can_be_read(generated):
    pages = {page: page for page in PAGES} | generated
    sizes = {name_of(path): len(page.read_bytes()) for path, page in pages.items()}
    assert {name: size for name, size in sizes.items() if size > SIZES.get(name, 12_000)} == {}


def links(text: str) -> list[str]:
    """Return the targets of links, pictures, included files and tables of contents on a page."""
    linked = re.findall(r"\]\((?!https?:)([^)]*)\)", text) + re.findall(r'<img src="([^"]*)"', text)
    linked += re.findall(r"^```\{(?:literal)?include\} (\S+)$|^:file: (\S+)$", text, re.MULTILINE)
    linked = [target if isinstance(target, str) else "".join(target) for target in linked]
    contents = re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return linked + [f"{entry}.*" for entry in re.findall(r"^\w\S*$", "".join(contents), re.MULTILINE)]


def found(path: Path, generated: dict[Path, Path]) -> Path | None:
    """Return the file that a link names, in the repository or among the generated pages."""
    path = Path(*path.parts[:-1]).resolve() / path.name
    return generated.get(path) or next(path.parent.glob(path.name), None)


@all_pages
def test_links_lead_somewhere(page, generated):
    pages = {path.with_suffix(".*"): page for path, page in generated.items()} | generated
    for target in links(page.read_text()):
        path, _, anchor = target.partition("#")
        linked = found(page.parent / path, pages) if path else page
        assert linked, target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, target


@all_pages
def test_lines_of_shell_are_commands(page):
    for words in shell_lines(page):
        program = re.sub(r"^\S*/bin/|[\d.]+$", "", words[0])
        assert program in PROGRAMS, words
        paths = [word for word in words if re.match("(tests|scripts|docs)/(?!_build)", word)]
        assert all((ROOT / path).exists() for path in paths), words
        if program == "python" and words[1] != "-m":
            options = [f'"{word}"' for word in words if re.match("--.", word)]
            assert all(option in (ROOT / words[1]).read_text() for option in options), words


def test_each_promise_names_tests_that_exist():
    rows = re.findall(r"^\|.*\|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    named = re.findall(r"`(tests/[^`]*)`", "".join(rows))
    assert len(named) > 20 and [path for path in named if not (ROOT / path).exists()] == []


def jobs_of(words: tuple[str, ...]) -> list[list[str]]:
    """Return the overrides of a command; of a sweep those of its first and of its last job."""
    given = get_args_parser().parse_args(prepared(words))
    overrides = [re.sub(r"=interval\(([^,]*),.*", r"=\1", word) for word in given.overrides]
    jobs = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(overrides), None)[0]
    folder = [f"hydra.searchpath=[file://{Path(given.config_dir).absolute()}]"] if given.config_dir else []
    return [[*job, *folder] for job in (jobs[0], jobs[-1])[: len(jobs)]]


def slow_but_readme(words: tuple[str, ...]):
    """Return a parameter, which is slow unless the README has the command."""
    return pytest.param(words, marks=() if COMMANDS[words] == "README.md" else pytest.mark.slow, id=" ".join(words))


@pytest.mark.parametrize("words", [*map(slow_but_readme, COMMANDS)])
def test_every_command_composes(words, mine, monkeypatch):
    monkeypatch.chdir(mine)
    for plugin in re.findall(r"hydra/(?:launcher|sweeper)=([a-z]+)", " ".join(words)):
        kind = "sweeper" if plugin == "optuna" else "launcher"
        pytest.importorskip(f"hydra_plugins.hydra_{plugin}_{kind}")
    for overrides in jobs_of(words):
        settings_of(*overrides)


@pytest.mark.slow
@pytest.mark.parametrize("words", EXAMPLES, ids=" ".join)
def test_every_example_runs(stdp_run, mine, tmp_path, words):
    (tmp_path / "mine").symlink_to(mine / "mine")
    few = [item for item in FEW if not any(word.startswith(item.partition("=")[0]) for word in words)]
    done = stdp_run(*words, *few)
    assert done.returncode == 0, done.stderr
    if "mode=stdp_window" not in words:
        result = json.loads((tmp_path / "run/result.json").read_text())
        named = dict(word.split("=") for word in words if "=" in word)
        assert {key: result[key] for key in ("rule", "neuron", "dataset") if key in named}.items() <= named.items()


def slow_or_weekly(page: str, program: str):
    """Return a parameter: checks of classes compile for half a minute, and a notebook has one."""
    weekly = "stdp_run.testing" in program
    return pytest.param(
        page, program, marks=pytest.mark.weekly if weekly else pytest.mark.slow, id=f"{page}-{program.splitlines()[-1]}"
    )


@pytest.mark.parametrize(("page", "program"), [slow_or_weekly(*each) for each in programs()])
def test_every_program_runs(mine, tmp_path, finished_run, page, program):
    (tmp_path / "mine").symlink_to(mine / "mine")
    program = program.replace('"RUN"', repr(str(finished_run))).replace("n_train=10_000", "n_train=300, n_test=100")
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{page}: {done.stderr}"


def table(name: str) -> dict[str, dict[str, str]]:
    """Return the rows of a published table by run."""
    with (ROOT / f"docs/results/data/{name}.csv").open(newline="") as file:
        return {row["run"]: row for row in csv.DictReader(file)}


def test_the_readmes_results_are_those_of_the_tables():
    results, times = table("mnist"), table("runs")
    text = re.search("<!-- results -->\n(.*)<!-- /results -->", PAGES[0].read_text(), re.DOTALL)[1]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    assert len(lines) == 5
    for command, neurons, seeds, all_activity, judged, _, time in lines:
        run = re.fullmatch(r"`stdp-run(?: experiment=(\w+))?`", command)[1] or "nearest_online_400"
        row = results[run]
        assert (neurons, seeds, all_activity) == (row["neurons"], row["seeds"], row["all_activity"])
        readout = row["readout"]
        assert judged == ("the same" if readout == "all_activity" else f"{row[readout]}, `{readout}`")
        assert time in (times[run]["time"], f"{float(times[run]['time'].split()[0]):.0f} min")


def keys_of(title: str) -> set[str]:
    """Return the keys in the first columns of the tables of a section on the page of run files."""
    page = (ROOT / "docs/use/run_files.md").read_text()
    section = re.split("\n##+ ", page.split(f"# {title}\n")[1])[0]
    rows = re.findall(r"^\| (`[^|]*)\|", section, re.MULTILINE)
    return {key for row in rows for key in re.findall(r"`([^`]*)`", row)}


def test_the_page_of_run_files_has_the_keys_of_a_run_and_no_others(tmp_path, without_plots):
    few = ("n_exc=20", "n_train=60", "n_test=40", "trainer.order=by_class", "dataset.split=validation", "threads=1")
    run_in(tmp_path / "run", *few, "encoder.steps=50", "evaluator.supervised=true")
    assert keys_of("result.json") - {"first_layer", "perturbation"} == result_of(tmp_path / "run").keys()
    assert keys_of("operations") == result_of(tmp_path / "run")["operations"].keys() - {"layers"}
    patterns = {re.sub("READOUT|NAME", "[^/]*", key) for key in keys_of("metrics.jsonl")} | {"validation/accuracy_.*"}
    names = {name for row in rows_of(tmp_path / "run") for name in row} - {"images_seen"}
    assert all(any(re.fullmatch(pattern, name) for name in names) for pattern in patterns)
    assert all(any(re.fullmatch(pattern, name) for pattern in patterns) for name in names)


@pytest.mark.parametrize(("refractory", "w_ie"), [(0, None), (5, None), (0, 40.0)])
def test_the_inference_program_counts_and_draws_spikes_as_the_engine(refractory, w_ie, finished_run, tmp_path, mnist):
    saved, path = checkpoint.load(finished_run / "checkpoint.pt"), tmp_path / "network.npz"
    config = {**saved.config, "dtype": "float64", "neuron": {**saved.config["neuron"], "refractory": refractory}}
    config["evaluator"] = {**config["evaluator"], "w_ie": w_ie}
    arrays = {**saved.state_dict, "weight": saved.state_dict["weight"].astype(np.float64)}
    checkpoint.save(tmp_path / "run.pt", replace(saved, config=config, state_dict=arrays))
    page = (ROOT / "docs/use/inference.md").read_text()
    text = re.search(r"<!-- program: inference -->\n```python\n(.*?)```", page, re.DOTALL)[1]
    exec(text.replace("network.npz", str(export(tmp_path / "run.pt", path))), program := {})
    trained, images = read_trained(tmp_path / "run.pt"), mnist.test.pixels[:40].reshape(40, -1)
    inputs, excitatory, _ = record_spikes(trained.model, trained.saved.state(), images, np.arange(40))
    counts = np.array([program["count_spikes"](spikes) for spikes in inputs])
    assert counts.any(axis=1).all() and np.array_equal(counts, excitatory.sum(axis=1))
    answers = [program["answer"](image, np.random.default_rng(0)) for image in images]
    assert np.mean(np.array(answers) == mnist.test.labels[:40].astype(str)) > 0.6
    fixed = SimpleNamespace(random=lambda shape: np.full(shape, 0.05))  # an input spikes where its probability is above
    own, changed = trained.model.encoder, {"gamma": 0.5, "mean_pixel": 33.0}
    for encoder in (own, replace(own, **changed), replace(own, on_off=True), replace(own, **changed, on_off=True)):
        program["encoder"].update(gamma=encoder.gamma, mean_pixel=encoder.mean_pixel, on_off=encoder.on_off)
        spikes = np.array([program["encode"](image, fixed)[0] for image in images])
        assert np.array_equal(spikes, encoder.limits(images) > 0.05 * 2.0**32)
