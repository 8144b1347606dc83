"""The console script `stdp-run`: Hydra's command line, the names that rules go by, errors in one line, exit codes."""

import logging
import os
import re
import signal
import sys
import traceback
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from stdp_run import rules
from stdp_run.config import conf_folder
from stdp_run.errors import UserError

BAD_INPUT = 2
TERMINATED = 128 + signal.SIGTERM

log = logging.getLogger(__name__)


class HeldBack:
    """Standard error that keeps what is written until `release`, and from then on passes it through."""

    def __init__(self, stream):
        self._stream = stream
        self.released = False
        self.text = ""

    def write(self, text: str) -> int:
        if self.released:
            return self._stream.write(text)
        self.text += text
        return len(text)

    def release(self, show: bool = True) -> None:
        """Pass on what was kept, if `show`, and everything that follows."""
        if not self.released:
            self.released = True
            self._stream.write(self.text if show else "")

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


_standard_error = HeldBack(sys.stderr)


def job(config: DictConfig) -> float:
    """Run one experiment in Hydra's output directory; return its accuracy."""
    _standard_error.release()
    hydra_config = HydraConfig.get()
    directory = Path(hydra_config.runtime.output_dir)
    folders = [source.path for source in hydra_config.runtime.config_sources if source.schema == "file"]
    # A rule or neuron group of one's own lies beside its YAML.
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    try:
        check_pairing(hydra_config, folders)
        from stdp_run.experiment import run

        return run(config, directory)
    except UserError as error:
        log.error("stdp-run: error: %s", error)
        sys.exit(BAD_INPUT)
    except Exception as error:
        place = users_line(error, folders)
        if place is None:
            raise
        log.error("stdp-run: error: %s: %s: %s", place, type(error).__name__, error)
        log.debug("", exc_info=error)
        sys.exit(BAD_INPUT)


def users_line(error: Exception, folders: list[str]) -> str | None:
    """Return the file and line, among the user's own config folders, where an error arose; None if it is not theirs."""
    own = [folder for folder in folders if Path(folder) != conf_folder()]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if any(Path(frame.filename).is_relative_to(folder) for folder in own):
            return f"{frame.filename}, line {frame.lineno}"
    return None


def main() -> None:
    """Run `stdp-run`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    sys.argv[1:] = [canonical_rule(argument) for argument in sys.argv[1:]]
    decorated = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(job)
    sys.stderr = _standard_error
    try:
        decorated()
    except SystemExit as stop:
        # Hydra explains a mistake in the overrides over several lines, before the job starts.
        if stop.code and not _standard_error.released and "HYDRA_FULL_ERROR" not in os.environ:
            _standard_error.release(show=False)
            print(f"stdp-run: error: {in_one_line(_standard_error.text, sys.argv[1:])}", file=sys.stderr)
            sys.exit(BAD_INPUT)
        raise
    except BrokenPipeError:  # `stdp-run --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    finally:
        _standard_error.release()


def check_pairing(hydra_config, folders: list[str]) -> None:
    """Refuse a pairing that was asked for by name and does not exist; Hydra ignores it, as most pairs have none."""
    asked = [item.partition("=")[2] for item in hydra_config.overrides.task if item.startswith("pairing=")]
    there = sorted({file.stem for folder in folders for file in Path(folder).glob("pairing/*.yaml")})
    for name in asked:
        if name not in there:
            raise UserError.bad_value("pairing", name, f"one of {', '.join(there)}")


def canonical_rule(argument: str) -> str:
    """Return a command-line argument with the rules it chooses by their own names, whatever their case or alias."""
    match = re.fullmatch(r"(rule=)(.+)", argument)
    if match is None:
        return argument
    return match[1] + ",".join(rules.canonical(name) or name for name in match[2].split(","))


def in_one_line(message: str, overrides: list[str]) -> str:
    """Return Hydra's explanation of a mistake in one line that names the key, the value and what is allowed."""
    unknown_choice = re.search(
        r"Could not find '([^']+)/([^'/]+)'\s+Available options in '[^']+':\n((?:\t\S+\n)+)", message
    )
    if unknown_choice:
        group, name, options = unknown_choice.groups()
        return f"{group}={name}: must be one of {', '.join(options.split())}"
    unknown_key = re.search(r"Could not override '([^']+)'", message)
    if unknown_key:
        key = unknown_key[1]
        given = next((item for item in overrides if item.lstrip("+~").split("=")[0] == key), key)
        return f"{given}: unknown key; known beside it: {', '.join(keys_beside(key))}"
    unwritable = re.search(
        r"(?:Permission|FileExists|FileNotFound|NotADirectory|OS)Error: \[Errno \d+\] (.+): '([^']+)'", message
    )
    if unwritable:
        return f"hydra.run.dir={unwritable[2]}: cannot be written: {unwritable[1]}"
    usage = re.search(r"^\S+: error: (.+)$", message, re.MULTILINE)
    if usage:
        return usage[1]
    lines = [line.strip() for line in message.splitlines() if line.strip() and "HYDRA_FULL_ERROR" not in line]
    return "; ".join(lines[:3]) or "the command line cannot be understood"


def keys_beside(key: str) -> list[str]:
    """Return the keys that the default config has where `key` would stand."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config")
    section, _, _ = key.rpartition(".")
    found = OmegaConf.select(config, section) if section else config
    if not isinstance(found, DictConfig):
        found = config
    return sorted(str(name) for name in found if name != "_target_")


if __name__ == "__main__":
    main()
