"""A trained network as arrays in a file that other programs read."""

import logging

from stdp_run.commands import Invocation
from stdp_run.config.schema import Settings
from stdp_run.inference.load import export

log = logging.getLogger(__name__)


def run(settings: Settings, _: Invocation) -> float:
    """Do mode=export."""
    export(settings.checkpoint, settings.export.to)
    log.info("%s: weights, thresholds and labels of %s", settings.export.to, settings.checkpoint)
    return 0.0
