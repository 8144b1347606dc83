"""The console script `stdp-run`: help, Hydra, and errors in the command line."""

import os
import re
import signal
import sys
import textwrap
from contextlib import suppress
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path

from stdp_run import __version__
from stdp_run.config.build import conf_folder


def command() -> None:
    options = set(sys.argv[1:])
    if options & {"-h", "--help"}:  # Hydra's own help composes the config first, which takes 2 s
        print(help_text(sys.argv[1:]))
    elif "--version" in options:
        print(f"stdp-run {__version__}")
    else:
        _run_hydra(sys.argv[1:])


def help_text(arguments: list[str]) -> str:
    """Return the text of --help for 80 columns, with all config groups and choices, those of --config-dir included."""
    custom = [Path(value) for option, value in pairwise(arguments) if option in ("-cd", "--config-dir")]
    choices = {(file.parent.name, file.stem) for folder in (conf_folder(), *custom) for file in folder.glob("*/*.yaml")}
    choices |= {
        ("tuned", name) for name in re.findall(r"^(\w[\w-]*):", (conf_folder() / "tuned.yaml").read_text(), re.M)
    }
    lines = []
    for group, found in groupby(sorted(choices), itemgetter(0)):
        line = f"  {group}: {', '.join(name for _, name in found)}"
        lines += textwrap.wrap(line, 80, subsequent_indent="    ", break_on_hyphens=False)
    return (conf_folder() / "help.txt").read_text().format(groups="\n".join(lines))


def _run_hydra(arguments: list[str]) -> None:
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from stdp_run.cli.jobs import BAD_INPUT, job
    from stdp_run.cli.messages import in_one_line
    from stdp_run.cli.overrides import is_sweep, prepared
    from stdp_run.errors import UserError

    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise its errors instead of printing them
    try:
        sys.argv = ["stdp-run", *prepared(arguments)]
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(job)()
    except SystemExit as end:
        if isinstance(end.code, int) and end.code > 128:
            resumes = "; the same command resumes the sweep" if is_sweep(arguments) else ""
            print(f"stdp-run: ended by {signal.Signals(end.code - 128).name}{resumes}", file=sys.stderr)
            with suppress(OSError):
                sys.stdout.flush()
            os._exit(end.code)  # sys.exit would wait for a thread that compiles
        raise
    except (UserError, HydraException, OmegaConfBaseException, OSError, ValueError) as error:
        print(f"stdp-run: error: {in_one_line(error, arguments)}", file=sys.stderr)
        sys.exit(BAD_INPUT)
