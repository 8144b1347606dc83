"""What the command line says of a command that cannot be done, found without a process."""

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from stdp_run.cli.messages import in_one_line
from stdp_run.cli.overrides import prepared
from stdp_run.config.build import build_model, conf_folder
from stdp_run.config.schema import read_settings, resolved
from stdp_run.errors import UserError


def refusal(*arguments: str) -> str:
    """Return the line with which a command is refused while its config is composed, read, or its network built."""
    try:
        words = prepared(list(arguments))
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            config = compose("config", overrides=words)
    except Exception as error:
        return in_one_line(error, arguments)
    try:
        build_model(read_settings(resolved(config)))
    except UserError as error:
        return str(error)
    raise AssertionError(f"{' '.join(arguments)} is not refused")
