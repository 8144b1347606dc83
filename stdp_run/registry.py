"""Registries of classes by name, and modules that act as one: `list(stdp_run.rules)`, `stdp_run.rules["triplet"]`."""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


class Registry(dict[str, Any]):
    """A mapping from name to class. Names are case-insensitive, and the `aliases` of a class are accepted."""

    def __contains__(self, name: object) -> bool:
        return self.canonical(name) is not None

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(self.canonical(name) or name)

    def canonical(self, name: object) -> str | None:
        """Return the registered name for a name or alias in any case, or None."""
        folded = str(name).lower()
        return next((own for own, cls in self.items() if folded in (own, *map(str.lower, cls.aliases))), None)


class _RegistryModule(ModuleType):
    """A module that acts as its mapping `registered`."""

    registered: Registry

    def __iter__(self) -> Iterator[str]:
        return iter(self.registered)

    def __len__(self) -> int:
        return len(self.registered)

    def __contains__(self, name: object) -> bool:
        return name in self.registered

    def __getitem__(self, name: str) -> Any:
        return self.registered[name]


def make_registry(module_name: str, **classes: type) -> Registry:
    """Return a registry of `classes`; the module must assign it to `registered`, and then acts as this mapping."""
    sys.modules[module_name].__class__ = _RegistryModule
    return Registry(classes)
