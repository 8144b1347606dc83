"""Makes Hydra fast in tests: each distinct command is composed once, and each text of YAML is parsed once."""

import io
import os
import pickle
from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.utils import JobRuntime
from omegaconf import OmegaConf

from stdp_run.config.build import conf_folder

_CONSTANT = {"pkg://hydra.conf", str(conf_folder()), "structured://"}
_composed: dict[object, bytes] = {}
_parsed: dict[str, bytes] = {}
_compose, _load = ConfigLoaderImpl.load_configuration, OmegaConf.load


def _load_configuration(self, config_name, overrides, run_mode, **flags):
    folders = {source.path.removeprefix("file://") for source in self.config_search_path.get_path()}
    if not folders <= _CONSTANT or "hydra.searchpath" in " ".join(overrides):
        return _compose(self, config_name, overrides, run_mode, **flags)  # files of other folders change
    key = (config_name, *overrides, run_mode, *flags.items(), repr(JobRuntime.instance().conf))
    if key not in _composed:
        _composed[key] = pickle.dumps(_compose(self, config_name, overrides, run_mode, **flags))
    config = pickle.loads(_composed[key])
    config.hydra.runtime.cwd = os.getcwd()
    return config


def _load_yaml(file):
    text = Path(file).read_text(encoding="utf-8") if isinstance(file, str | Path) else file.read()
    if text not in _parsed:
        _parsed[text] = pickle.dumps(_load(io.StringIO(text)))
    return pickle.loads(_parsed[text])


def remember_configs() -> None:
    """Keep composed configs and parsed YAML for the rest of this process."""
    patch = pytest.MonkeyPatch()
    patch.setattr(ConfigLoaderImpl, "load_configuration", _load_configuration)
    patch.setattr(OmegaConf, "load", _load_yaml)
