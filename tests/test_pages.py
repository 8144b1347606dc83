"""The pages for people: their size, their links, and that every command and example on them works."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from stdp_run.config.build import conf_folder
from stdp_run.config.schema import read_settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "conf/README.md", "scripts/README.md")]
FEW = ("n_exc=20", "n_train=100", "n_test=50", "n_label=100", "encoder.steps=50", "threads=1", "hydra.run.dir=run")


def files(page: Path) -> dict[str, str]:
    """The files that a page shows, by path."""
    return dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", page.read_text(), re.DOTALL))


def commands(text: str) -> list[list[str]]:
    """The words of every `stdp-run` command in blocks of sh, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    found = [shlex.split(line, comments=True) for line in lines if line.startswith("stdp-run ")]
    return [words[1:] for words in found if "..." not in words]


def in_text(text: str) -> list[list[str]]:
    """The words of every `stdp-run` command within a line, such as those of the tables."""
    spans = re.findall(r"`stdp-run( [^`]*)`", text)
    return [shlex.split(span) for span in spans if "..." not in span and "KEY" not in span]


def programs(page: Path) -> list[str]:
    """The programs in Python that a page shows: those that import stdp_run and are not a file."""
    found = re.findall(r"(-->\n)?```python\n(.*?)```", page.read_text(), re.DOTALL)
    return [program for of_file, program in found if not of_file and "import stdp_run" in program]


PROGRAMS = [(page.name, program) for page in PAGES for program in programs(page)]
COMMANDS = sorted(
    {tuple(words) for page in PAGES for words in (*commands(page.read_text()), *in_text(page.read_text()))}
)


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder with all files that the pages show."""
    folder = tmp_path_factory.mktemp("pages")
    for page in PAGES:
        for path, content in files(page).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content)
    return folder


def test_the_readme_is_no_longer_than_can_be_read():
    assert len(PAGES[0].read_bytes()) <= 10_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)]*)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, target


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_composes(words, mine):
    keys = [word for word in words if "=" in word and not word.startswith(("hydra/", "hydra."))]
    overrides = [re.sub(r"=(?:interval\()?([^\[\],]+),[^\]]*$", r"=\1", word) for word in keys]  # a sweep's first value
    overrides = ["first_layer=patches" if word == "first_layer=RUN" else word for word in overrides]
    overrides.append(f"hydra.searchpath=[file://{mine / 'mine'}]")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        read_settings(compose("config", overrides=overrides))


@pytest.mark.slow
@pytest.mark.parametrize("words", [words for words in COMMANDS if "--config-dir" in words], ids=" ".join)
def test_every_example_runs(stdp_run, mine, tmp_path, words):
    (tmp_path / "mine").symlink_to(mine / "mine")
    few = [item for item in FEW if not any(word.startswith(item.partition("=")[0]) for word in words)]
    done = stdp_run(*words, *few)
    assert done.returncode == 0, done.stderr
    if "mode=stdp_window" not in words:
        result = json.loads((tmp_path / "run/result.json").read_text())
        named = dict(word.split("=") for word in words if "=" in word)
        assert {key: result[key] for key in ("rule", "neuron", "dataset") if key in named}.items() <= named.items()


@pytest.mark.slow
@pytest.mark.parametrize(("page", "program"), PROGRAMS, ids=lambda value: value.splitlines()[-1])
def test_every_program_runs(mine, tmp_path, finished_run, page, program):
    (tmp_path / "mine").symlink_to(mine / "mine")
    words = [sys.executable, "-c", program.replace('"RUN"', repr(str(finished_run)))]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{page}: {done.stderr}"
