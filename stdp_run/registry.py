"""Names of classes; and modules that list them: `list(stdp_run.rules)`, `"full_online" in stdp_run.rules`."""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


class Registry(dict[str, Any]):
    """Name -> class. Names are case-insensitive; `aliases` of each class lead to the class's own name."""

    def __contains__(self, name: object) -> bool:
        return self.canonical(name) is not None

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(self.canonical(name) or name)

    def canonical(self, name: object) -> str | None:
        """Return the registered name that `name` means, whatever its case, or None."""
        folded = str(name).lower()
        return next((own for own, cls in self.items() if folded in (own, *map(str.lower, cls.aliases))), None)


class _RegistryModule(ModuleType):
    """A module that is read as the mapping `registered` in it."""

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
    """Return `classes` by name; the module, in which it is called `registered`, can then be read as that mapping."""
    sys.modules[module_name].__class__ = _RegistryModule
    return Registry(classes)
