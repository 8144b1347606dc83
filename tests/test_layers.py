"""Limits of the package: imports in one direction, few arguments, short files."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "stdp_run"

# A part is a module or a folder at the top level of the package; a level holds parts that import lower levels only.
MOST_PARTS, MOST_LEVELS, MOST_IMPORTS = 22, 10, 99
MOST_ARGUMENTS, MOST_LINES = 7, 350
# Kernels name the types that they need once more in their signatures, so that numba specialises them.
KERNELS, MOST_KERNEL_ARGUMENTS = "engines/event", 8
# Parts, and all that they may import. A part that is not listed may import everything below it.
MAY_IMPORT = {
    "errors": set(),
    "elementwise": set(),
    "system": set(),
    "registry": {"errors"},
    "evaluation": {"errors"},
    "rules": {"elementwise", "errors", "parameters", "registry"},
    "neurons": {"elementwise", "errors", "parameters", "registry"},
    "config": {"errors", "files", "registry", "system", "parameters"}
    | {"encoding", "evaluation", "network", "neurons", "rules"},
}
MUST_NOT_IMPORT = {"reporting": {"training", "inference", "commands"}, "engines": {"training", "reporting"}}


def modules() -> list[Path]:
    """Return the files of the package; its __init__ and __main__ belong to no part."""
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem[0] != "_")


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def inside(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names that a module imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole path"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def parts() -> dict[str, set[str]]:
    """Return each part and the other parts that it imports."""
    part_of = {path: inside(path).partition("/")[0].removesuffix(".py") for path in modules()}
    found: dict[str, set[str]] = {part: set() for part in part_of.values()}
    for path, part in part_of.items():
        names = [name.split(".")[1] for name in imported(parsed(path)) if name.startswith("stdp_run.")]
        found[part] |= found.keys() & set(names) - {part}
    return found


def test_imports_go_in_one_direction():
    left, levels = parts(), 0
    while left:
        level = {name for name, known in left.items() if not known & left.keys()}
        assert level, f"these import each other, or a part that does: {', '.join(sorted(left))}"
        left, levels = {name: known for name, known in left.items() if name not in level}, levels + 1
    assert levels <= MOST_LEVELS


def test_a_part_imports_no_more_than_it_should():
    known = parts()
    assert len(known) <= MOST_PARTS
    assert sum(map(len, known.values())) <= MOST_IMPORTS
    too_many = {name: known[name] - allowed for name, allowed in MAY_IMPORT.items()}
    too_many |= {name: known[name] & refused for name, refused in MUST_NOT_IMPORT.items()}
    assert not any(too_many.values()), too_many


def test_only_the_command_line_imports_hydra():
    users = {
        inside(path) for path in modules() if any(name.split(".")[0] == "hydra" for name in imported(parsed(path)))
    }
    assert {name.partition("/")[0] for name in users} == {"cli"}


def test_functions_take_few_arguments():
    too_many = []
    for path in modules():
        most = MOST_KERNEL_ARGUMENTS if inside(path).startswith(KERNELS) else MOST_ARGUMENTS
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef):
                given, several = node.args, (node.args.vararg, node.args.kwarg)
                takes = (*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, several))
                count = len({each.arg for each in takes} - {"self", "cls"})
                too_many += [f"{inside(path)}:{node.lineno} {node.name}"] if count > most else []
    assert not too_many


def test_a_long_file_says_why():
    """The docstring says "In one file because ..."."""
    long = {path for path in modules() if len(path.read_text().splitlines()) > MOST_LINES}
    texts = {inside(path): " ".join((ast.get_docstring(parsed(path)) or "").split()) for path in long}
    assert not [name for name, text in texts.items() if "In one file because" not in text]
