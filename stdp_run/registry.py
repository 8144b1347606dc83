"""A module that lists what is registered in it: `list(stdp_run.rules)`, `"full_online" in stdp_run.rules`."""

import sys
from types import ModuleType


class Registry(ModuleType):
    """A module with a dictionary `registered`, name -> class, read as a mapping; names are case-insensitive.

    `aliases` of each class are accepted too and lead to the class's own name.
    """

    def __iter__(self):
        return iter(self.registered)

    def __len__(self):
        return len(self.registered)

    def __contains__(self, name):
        return self.canonical(name) is not None

    def __getitem__(self, name):
        canonical = self.canonical(name)
        if canonical is None:
            raise KeyError(name)
        return self.registered[canonical]

    def canonical(self, name: str) -> str | None:
        """Return the registered name that `name` means, whatever its case, or None."""
        folded = str(name).lower()
        for own_name, cls in self.registered.items():
            if folded in (own_name, *(alias.lower() for alias in cls.aliases)):
                return own_name
        return None


def make_registry(module_name: str) -> None:
    """Turn the module, which has a dictionary `registered`, into a `Registry`."""
    sys.modules[module_name].__class__ = Registry
