"""Compares other simulators with this one: starts them in their environments, and lets both learn in turn."""

import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

from peers.serve import PEERS
from tables import markdown

NAMES = tuple(PEERS)
# One core is measured; waiting threads would use its time.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
SERVE = Path(__file__).with_name("serve.py")


class Peer:
    """A peer in a separate process, which inherits the core. `about` describes the peer, or has the key `missing`."""

    def __init__(self, name: str, python: Path, pixels_file: Path, n_exc: int):
        self.name, self.n_exc = name, n_exc
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed in `close`
        # The peer's Python must not import from this project's source path.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [python, SERVE, name, pixels_file, str(n_exc)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment | ONE_THREAD,
        )
        self.about = self._answer()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._process.wait()
        self._errors.seek(0)
        raise SystemExit(f"{self.name} with {self.n_exc} neurons failed:\n{self._errors.read()[-3000:]}")

    def learn(self, seconds: float) -> tuple[int, float]:
        """Let the peer learn for `seconds` of CPU time or more; return images and CPU seconds."""
        print(seconds, file=self._process.stdin, flush=True)
        answer = self._answer()
        return answer["images"], answer["seconds"]

    def close(self) -> None:
        """End the peer by closing its input."""
        self._process.communicate()
        self._errors.close()


def start(name: str, pythons: list[Path], pixels_file: Path, n_exc: int) -> Peer:
    """Return the peer from the first environment that has it, else from the last one, with `missing` in `about`."""
    for python in pythons[:-1]:
        peer = Peer(name, python, pixels_file, n_exc)
        if "missing" not in peer.about:
            return peer
        peer.close()
    return Peer(name, pythons[-1], pixels_file, n_exc)


def alternate(peer: Peer, ours, repeats: int, seconds: float) -> dict:
    """Return one row from `repeats` runs of this engine and the peer in turn, with the median of the ratios."""
    row = {"peer": peer.name, "n_exc": peer.n_exc, **peer.about}
    if "missing" not in row:
        own_rates, rates = [], []
        for _ in range(repeats):
            for learner, found in ((ours, own_rates), (peer, rates)):
                images, spent = learner.learn(seconds)
                found.append(images / spent)
        factors = [own / other for own, other in zip(own_rates, rates, strict=True)]
        row |= {
            "images_per_second": statistics.median(rates),
            "runs": rates,
            "steps_per_second": statistics.median(rates) * row["steps"],
            "stdp_run_images_per_second": statistics.median(own_rates),
            "stdp_run_runs": own_rates,
            "factor": statistics.median(factors),
            "factor_range": [min(factors), max(factors)],
        }
    peer.close()
    return row


def table(rows: list[dict]) -> str:
    """Return the table of peers, and a line for each missing peer."""
    lines = [
        {
            "peer": row["peer"],
            "version": row["version"],
            "neurons": f"{row['n_exc']}",
            "steps": f"{row['steps']:,}",
            "learning/s": f"{row['images_per_second']:,.1f}",
            "stdp-run/s": f"{row['stdp_run_images_per_second']:,.0f}",
            "factor": f"{row['factor']:,.0f}",
            "from": f"{row['factor_range'][0]:,.0f}",
            "to": f"{row['factor_range'][1]:,.0f}",
            "build s": f"{row['build_seconds']:.0f}",
        }
        for row in rows
        if "missing" not in row
    ]
    missing = {row["peer"]: f"{row['peer']}: not installed ({row['missing']})" for row in rows if "missing" in row}
    return "\n\n".join([*([markdown(lines)] if lines else []), *missing.values()])
