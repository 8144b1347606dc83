"""The command line and `stdp_run.run`. Only this folder imports Hydra."""

from stdp_run.training.signals import end_at_stop_signals


def main() -> None:
    """Run the console script `stdp-run`."""
    end_at_stop_signals()  # before the imports, which take half a second
    from stdp_run.cli.command import command

    command()
