"""The console script `stdp-run`: options, help, signals, and errors in the command line."""

import os
import sys
import textwrap
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

import stdp_run
from stdp_run.cli.completion import offered
from stdp_run.cli.job import BAD_INPUT, job
from stdp_run.cli.messages import in_one_line
from stdp_run.cli.overrides import prepared
from stdp_run.config.build import conf_folder
from stdp_run.errors import UserError
from stdp_run.training.signals import Stoppable

BROKEN_PIPE = 13  # SIGPIPE, which Windows does not have


def main() -> None:
    """Run `stdp-run`."""
    with Stoppable() as stoppable:
        try:
            _run(stoppable)
        except SystemExit:
            if stoppable.pending:
                of_sweep = "; the same command resumes the sweep" if {"-m", "--multirun"} & set(sys.argv) else ""
                print(f"stdp-run: ended by {stoppable.pending.name}{of_sweep}", file=sys.stderr)
            raise


def _run(stoppable: Stoppable) -> None:
    show_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints a mistake in the overrides over several lines, and exits
    try:
        sys.argv[1:] = prepared(sys.argv[1:])
        options = read_options()
        if options.help:  # Hydra's own help takes a second to find out what this one does not say
            return print(help_text([conf_folder(), Path(options.config_dir or conf_folder())]), flush=True)
        if options.shell_completion and options.overrides[:1] and options.overrides[0].startswith("query="):
            completed = offered()
            if completed is not None:
                return print("\n".join(completed))
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(job)()
    except BrokenPipeError:  # `stdp-run --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + BROKEN_PIPE)
    except Exception as error:  # not of a job, which handles its own
        stoppable.end_if_asked()  # an import that is interrupted may fail with an error of its own
        of_command = isinstance(error, (UserError, HydraException, OmegaConfBaseException, OSError))
        if show_traceback or not (of_command or HydraConfig.instance().cfg is None):
            raise
        print(f"stdp-run: error: {in_one_line(error, sys.argv[1:])}", file=sys.stderr)
        sys.exit(BAD_INPUT)


def read_options() -> Namespace:
    """Return the options of the command; raise UserError for unknown ones, where Hydra prints a page of usage."""

    def refuse(message: str) -> NoReturn:
        raise UserError(message)

    parser = ArgumentParser(parents=[get_args_parser()], add_help=False, conflict_handler="resolve")
    parser.error = refuse  # type: ignore[method-assign]
    parser.add_argument("--version", action="version", version=f"stdp-run {stdp_run.__version__}")
    return parser.parse_args()


def help_text(folders: Iterable[Path]) -> str:
    """Return the text of --help, with the config groups in the folders and their choices, for 80 columns."""
    choices = {(file.parent.name, file.stem) for folder in folders for file in folder.glob("*/*.yaml")}
    choices |= {("tuned", name.removesuffix(".yaml")) for name in ConfigStore.instance().list("tuned")}
    lines = []
    for group, found in groupby(sorted(choices), itemgetter(0)):
        line = f"  {group}: {', '.join(name for _, name in found)}"
        lines += textwrap.wrap(line, 80, subsequent_indent="    ", break_on_hyphens=False)
    return (conf_folder() / "help.txt").read_text().format(groups="\n".join(lines))
