"""The command line. Only this room imports Hydra."""

import sys

from stdp_run.training.signals import Stoppable

with Stoppable():  # these take half a second
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    from stdp_run.cli.command import main
    from stdp_run.cli.names import job_name, run_name, sweep_name
    from stdp_run.config.build import conf_folder

__all__ = ["main"]

# The cache hands every job the name that its sweep was given.
OmegaConf.register_new_resolver("sweep_name", lambda: sweep_name(sys.argv[1:]), use_cache=True, replace=True)
OmegaConf.register_new_resolver("job_name", job_name, replace=True)
OmegaConf.register_new_resolver("run_name", run_name, replace=True)

# One file has all choices of the group `tuned`.
for choice, constants in OmegaConf.load(conf_folder() / "tuned.yaml").items():
    ConfigStore.instance().store(str(choice), constants, group="tuned", package="_global_", provider="stdp_run")
