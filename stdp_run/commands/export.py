"""mode=export: a trained network in a file that other programs read."""

import logging

from stdp_run.commands import Invocation
from stdp_run.config.schema import Settings
from stdp_run.files import check_place
from stdp_run.inference.export import export

log = logging.getLogger(__name__)


def run(settings: Settings, _: Invocation) -> float:
    """Export the network of `settings.checkpoint` to `settings.export.to`; return 0, as no accuracy is measured."""
    path, to = settings.checkpoint, settings.export.to
    assert path is not None and to is not None  # the settings of this mode have them
    check_place("export.to", to)
    log.info("%s: weights, thresholds and labels of %s", export(path, to, settings.config_dir), path)
    return 0.0
