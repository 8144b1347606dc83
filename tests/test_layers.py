"""Imports go one way: a module knows only the layers below its own."""

import ast
from pathlib import Path

import pytest

import stdp_run

PACKAGE = Path(stdp_run.__file__).parent

# Lowest first. Modules of one layer do not know each other.
LAYERS = [
    {"errors", "elementwise", "interruption", "registry"},
    {"parameters"},
    {"encoding"},
    {"neurons", "rules", "datasets", "evaluation", "figures", "checkpoint", "handwriting"},
    {"network", "tracking", "run_directory", "report", "comparing"},
    {"config", "engines"},
    {"continuing", "data", "pictures", "replaying", "trained", "trainer", "variants"},
    {"results", "predicting", "window"},
    {"learning_run"},
    {"experiment"},
    {"cli"},
]
HEIGHT = {name: height for height, names in enumerate(LAYERS) for name in names}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def top(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
    own = top(path)
    for name in imported(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] == "hydra":
            assert own == "cli", "only cli.py imports Hydra"
        if parts[0] == "stdp_run" and len(parts) > 1 and parts[1] in HEIGHT and parts[1] != own:
            assert HEIGHT[parts[1]] < HEIGHT[own], f"{own} must not import {parts[1]}"
