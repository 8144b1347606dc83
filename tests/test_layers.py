"""What keeps the house in order, counted: imports, arguments, lines, words. `python tests/test_layers.py` prints it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1] / "stdp_run"
CONF = Path(__file__).parents[1] / "conf"

# A room is a module or a folder at the top level of the package.
MOST_ROOMS, MOST_FLOORS, MOST_ARROWS = 21, 9, 80
MOST_ARGUMENTS, MOST_LINES = 7, 350
# What compiled kernels need is named once more in their signatures, so that numba specialises them.
KERNELS, MOST_KERNEL_ARGUMENTS = "engines/event", 8
# Rooms, and what they may know at most. What is not listed may know everything below it.
MAY_KNOW = {
    "errors": set(),
    "elementwise": set(),
    "system": set(),
    "registry": {"errors"},
    "evaluation": {"errors"},
    "rules": {"elementwise", "errors", "parameters", "registry"},
    "neurons": {"elementwise", "errors", "parameters", "registry"},
    "config": {"encoding", "errors", "evaluation", "files", "network", "neurons", "parameters", "rules", "registry"},
}
MUST_NOT_KNOW = {"reporting": {"training", "inference", "commands"}, "engines": {"training", "reporting"}}

# Words of this project's past, and what the field says instead.
FORMER_WORDS = {
    "showing": "presentation",
    "showings": "presentations",
    "passes": "epochs",
    "contender": "active neuron",
    "contenders": "active neurons",
    "contend": "active",
    "spelling": "implementation",
    "drawer": "sampler",
    "pairing": "tuned",
    "pairings": "tuned",
    "person": "user",
    "told": "reported",
    "manner": "compiled kernels",
    "lesson": "training batch",
    "lessons": "training batches",
    "variation": "presentation",
}
FORMER_WORDS_OF_ENGINES = FORMER_WORDS | {
    "alone": "single",
    "dark": "silent",
    "resting": "subthreshold",
    "window": "interval",
    "windows": "intervals",
    "half": "implementation",
    "drawing": "sampling",
    "drawn": "sampled",
    "shows": "presentations",
}


class Argument(NamedTuple):
    """A function and how many arguments it takes."""

    count: int
    function: str


def modules() -> list[Path]:
    """Return the files of the package; its __init__ and __main__ belong to no room."""
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem[0] != "_")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def inside(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room(path: Path) -> str:
    return inside(path).partition("/")[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names that a module imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole path"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms() -> dict[str, set[str]]:
    """Return each room and the other rooms that it imports."""
    found: dict[str, set[str]] = {room(path): set() for path in modules()}
    for path in modules():
        for name in imported(parsed(path)):
            package, _, rest = name.partition(".")
            known = rest.partition(".")[0]
            if package == "stdp_run" and known in found and known != room(path):
                found[room(path)].add(known)
    return found


def floors() -> list[set[str]]:
    """Return the rooms by floor, lowest first: each stands on the lowest floor above all that it imports.

    Raises:
        AssertionError: some rooms import each other, in a circle.
    """
    left, found = rooms(), []
    while left:
        floor = {name for name, known in left.items() if not known & left.keys()}
        assert floor, f"these import each other, or what does: {', '.join(sorted(left))}"
        found.append(floor)
        left = {name: known for name, known in left.items() if name not in floor}
    return found


def arguments(kernels: bool) -> list[Argument]:
    """Return how many arguments the functions of compiled kernels, or all others, take without self; most first."""
    found = []
    for path in modules():
        if inside(path).startswith(KERNELS) != kernels:
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef):
                takes = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                takes += [each for each in (node.args.vararg, node.args.kwarg) if each is not None]
                named = [each.arg for each in takes if each.arg not in ("self", "cls")]
                found.append(Argument(len(named), f"{inside(path)}:{node.lineno} {node.name}"))
    return sorted(found, reverse=True)


def long_files() -> dict[str, int]:
    """Return the files that are too long and do not say why, as "In one file because ..." in their docstring."""
    lines = {path: len(path.read_text().splitlines()) for path in modules()}
    return {
        inside(path): count
        for path, count in lines.items()
        if count > MOST_LINES and "In one file because" not in " ".join((ast.get_docstring(parsed(path)) or "").split())
    }


def defined(tree: ast.AST) -> Iterator[str]:
    """Yield the names that a module gives: of functions, classes, arguments, variables and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def former_words() -> list[str]:
    """Return where the name of a file, a name in the code or a key in conf/ has a former word."""
    given = {(inside(path), name) for path in modules() for name in (path.stem, *defined(parsed(path)))}
    for path in CONF.rglob("*.yaml"):
        keys = re.findall(r"^ *([a-z_]+):", path.read_text(), re.MULTILINE)
        given |= {
            (path.relative_to(CONF.parent).as_posix(), name) for name in (*path.parent.parts[-1:], path.stem, *keys)
        }
    found = []
    for place, name in sorted(given):
        for word in re.findall(r"[a-z]+", re.sub(r"([A-Z])", r"_\1", name).lower()):
            former = FORMER_WORDS_OF_ENGINES if place.startswith("engines/") else FORMER_WORDS
            if word in former:
                found.append(f"{place}: {name}: say {former[word]}")
    return found


def test_imports_go_one_way():
    assert len(floors()) <= MOST_FLOORS


def test_a_room_knows_no_more_than_it_should():
    known = rooms()
    assert len(known) <= MOST_ROOMS
    assert sum(map(len, known.values())) <= MOST_ARROWS
    too_much = {name: known[name] - allowed for name, allowed in MAY_KNOW.items() if known[name] - allowed}
    too_much |= {name: known[name] & refused for name, refused in MUST_NOT_KNOW.items() if known[name] & refused}
    assert not too_much


def test_only_the_command_line_imports_hydra():
    users = {
        inside(path) for path in modules() if any(name.split(".")[0] == "hydra" for name in imported(parsed(path)))
    }
    assert {name.partition("/")[0] for name in users} == {"cli"}


def test_functions_take_few_arguments():
    assert not [each for each in arguments(kernels=False) if each.count > MOST_ARGUMENTS]
    assert not [each for each in arguments(kernels=True) if each.count > MOST_KERNEL_ARGUMENTS]


def test_a_long_file_says_why():
    assert not long_files()


def test_names_are_the_fields_own():
    assert not former_words()


if __name__ == "__main__":
    known, sizes = rooms(), {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    print(f"{sum(sizes.values())} lines in {len(sizes)} files")
    print(f"{len(known)} rooms at the top level, {sum(map(len, known.values()))} arrows")
    try:
        print(f"{len(floors())} floors:", *(f"\n  {', '.join(sorted(names))}" for names in reversed(floors())))
    except AssertionError as circle:
        print(circle)
    for what, kernels, most in (("functions", False, MOST_ARGUMENTS), ("kernels", True, MOST_KERNEL_ARGUMENTS)):
        counted = arguments(kernels)
        print(f"{what} with more than {most} arguments: {sum(each.count > most for each in counted)} of {len(counted)}")
        print("".join(f"  {each.count} {each.function}\n" for each in counted[:5]), end="")
    print(f"files over {MOST_LINES} lines that do not say why: {long_files() or 'none'}")
    print(f"former words: {len(former_words())}")
    print("".join(f"  {each}\n" for each in former_words()), end="")
