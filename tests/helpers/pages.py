"""The pages for people, and what they show: files, commands, programs."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
READMES = [ROOT / folder / "README.md" for folder in ("", "conf", "scripts", "stdp_run/engines/event")]
PAGES = [*READMES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if not {"_build", "settings"} & set(page.parts)]  # these are generated


def name_of(page: Path) -> str:
    """Return the path of a page in the repository."""
    return str(page.relative_to(ROOT))


def blocks(language: str, text: str) -> list[str]:
    """Return the blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def write_files(folder: Path) -> None:
    """Write all files that the pages show to a folder."""
    for page in PAGES:
        for path, content in re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", page.read_text(), re.DOTALL):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content)


def shell_lines(page: Path) -> list[list[str]]:
    """Return the words of every command in the blocks of sh of a page."""
    lines = "".join(blocks("sh", page.read_text())).replace("\\\n", " ").splitlines()
    lines = [part for line in lines for part in line.split(" && ")]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def commands() -> dict[tuple[str, ...], str]:
    """Return the arguments of every `stdp-run` command in blocks of sh and in lines of text, and a page with it."""
    found = {}
    for page in reversed((*PAGES, ROOT / "docs/results/data/claims.csv")):
        spans = re.findall(r"(?<!`)`stdp-run( [^`]*)?`", page.read_text())
        lines = [words[1:] for words in shell_lines(page) if words[0].endswith("stdp-run")]
        lines += [shlex.split(span) for span in spans if "KEY" not in span]
        found |= {tuple(words): name_of(page) for words in lines}
    return found


def programs() -> Iterator[tuple[str, str]]:
    """Yield page and text of every Python program: those that import stdp_run and are not a file."""
    for page in PAGES:
        shown = re.sub(r"<!-- file: .*?```\w+\n.*?```", "", page.read_text(), flags=re.DOTALL)
        yield from ((name_of(page), text) for text in blocks("python", shown) if "import stdp_run" in text)
