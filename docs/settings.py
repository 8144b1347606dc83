"""Writes the reference of settings from the YAML files in conf/, their values and comments, and the text of --help."""

import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from stdp_run.cli.command import help_text


class Page(NamedTuple):
    """A page: its title, its first sentences, and files or folders of conf/."""

    title: str
    first: str
    sources: tuple[str, ...]
    as_yaml: bool = False  # shows the files instead of tables


PAGES = {
    "general": Page("General settings", "Keys without a group, and the choice of each group.", ("config.yaml",)),
    "rules": Page("Rules", "`rule=NAME` chooses a rule. `rule.KEY=VALUE` changes a constant.", ("rule",)),
    "neurons": Page(
        "Neuron groups", "`neuron=NAME` chooses a neuron group. `neuron.KEY=VALUE` changes a constant.", ("neuron",)
    ),
    "datasets": Page("Datasets", "`dataset=NAME` chooses the images. `dataset.KEY=VALUE` changes a key.", ("dataset",)),
    "layers": Page(
        "First layer",
        "`first_layer=patches` adds a layer before the network. `first_layer.KEY` is for it, `KEY` for the second.",
        ("first_layer",),
    ),
    "training": Page(
        "Encoding and training",
        "`encoder.KEY=VALUE` changes the input spikes. `trainer.KEY=VALUE` changes the course of a run.",
        ("encoder", "trainer"),
    ),
    "evaluation": Page("Evaluation", "`evaluator.KEY=VALUE` changes how the network answers.", ("evaluator",)),
    "perturbations": Page(
        "Perturbations",
        "`perturbation=NAME` perturbs a trained network or its images, with `mode=eval`.",
        ("perturbation",),
    ),
    "presets": Page(
        "Presets",
        "`experiment=NAME` and `debug=smoke` set several keys at once. A preset inherits from those in its `defaults`.",
        ("experiment", "debug"),
        as_yaml=True,
    ),
    "tuned": Page(
        "Tuned constants",
        "`tuned=RULE-NEURON` applies to that rule and neuron group. `tuned=none` and presets replace it.",
        ("tuned.yaml",),
        as_yaml=True,
    ),
}


def rows(text: str, prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield key, value and comment of each key with a value and a comment, which may be above the key."""
    above: list[str] = []
    sections: list[str] = []
    for line in text.splitlines():
        content, _, comment = line.strip().partition("  # ")
        if content.startswith("#"):
            above.append(content.lstrip("# "))
            continue
        listed = re.fullmatch(r"- (?:optional )?(\w.*)", content)
        key, _, value = (listed[1] if listed else content).partition(":")
        if key == "hydra":
            return
        if listed:
            name = key
        else:
            sections = [*sections[: (len(line) - len(line.lstrip())) // 2], key]
            name = ".".join(sections)
        meaning = " ".join([*above, comment]).strip()
        if value.strip() and meaning and re.fullmatch(r"[a-z][\w.]*", name) and not key.startswith("override"):
            yield prefix + name, value.strip(), meaning
        above = []


def shown(file: Path, as_yaml: bool) -> str:
    """Return a YAML file as a comment and a table, or as a block of code."""
    everywhere = "# @package _global_\n"  # its keys name the group themselves
    text = file.read_text()
    prefix = "" if file.name == "config.yaml" or text.startswith(everywhere) else f"{file.parent.name}."
    text = text.removeprefix(everywhere)
    if as_yaml:
        return f"```yaml\n{text}```\n"
    top = [*takewhile(lambda line: line.startswith("#"), text.splitlines())]
    body = "\n".join(text.splitlines()[len(top) :])
    cells = [(f"`{key}`", f"`{value}`", comment.replace("|", r"\|")) for key, value, comment in rows(body, prefix)]
    table = [f"| {' | '.join(each)} |" for each in (("key", "default", "meaning"), ("---",) * 3, *cells)]
    base = re.search(r"^defaults:\n  - (\w+)\n  - _self_$", text, re.MULTILINE)
    others = f"{'Other' if cells else 'All'} keys are the same as in `{file.parent.name}={base[1]}`.\n" if base else ""
    return "\n".join([" ".join(line.lstrip("# ") for line in top), "", *(table if cells else ()), others])


def write_pages(conf: Path, folder: Path) -> None:
    """Write a page for each group of settings, and help.txt."""
    folder.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        paths = [conf / source for source in page.sources]
        files = [file for path in paths for file in (sorted(path.glob("*.yaml")) if path.is_dir() else [path])]
        heading = "## `{0.parent.name}={0.stem}`\n\n" if len(files) > 1 else ""
        parts = [f"# {page.title}\n\n{page.first}\n", *(heading.format(f) + shown(f, page.as_yaml) for f in files)]
        write(folder / f"{name}.md", "\n".join(parts))
    write(folder / "help.txt", help_text([]) + "\n")


def write(file: Path, text: str) -> None:
    """Write a file only if its content changes, so that Sphinx reads it again only then."""
    if not file.exists() or file.read_text() != text:
        file.write_text(text)
