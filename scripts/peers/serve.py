"""Times the learning of one peer; `scripts/bench.py --peers` runs it with the Python of the peer's environment.

    python scripts/peers/serve.py bindsnet PIXELS.npy 100

It writes lines of JSON: first a description of the peer, or `{"missing": ...}` if it is not installed. For each line
with a number of seconds on its input, it then writes the number of images learned and their CPU seconds. It needs only
numpy and the peer, so the environment need not contain stdp-run.
"""

import importlib
import json
import os
import sys
import time

import numpy as np

# By name: the module and the options of its network.
PEERS = {
    "bindsnet": ("bindsnet_network", {}),
    "spaic": ("spaic_network", {}),
    "brian2": ("brian2_network", {"model": "pair", "presentation": "short"}),
    "brian2-published": ("brian2_network", {"model": "pair", "presentation": "published"}),
    "brian2-paper": ("brian2_network", {"model": "paper", "presentation": "published"}),
    "annarchy": ("annarchy_network", {}),
    "nest": ("nest_network", {}),
    "neurosush": ("neurosush_network", {}),
    "ngclearn": ("ngclearn_network", {}),
}
PACKAGES = ("bindsnet", "spaic", "brian2", "ANNarchy", "nest", "neurosush", "ngclearn")


def main(name: str, pixels_file: str, n_exc: int) -> None:
    """Build the peer `name` with `n_exc` neurons, and answer until the input ends."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # prints of peers go to standard error

    def tell(**fields) -> None:
        print(json.dumps(fields), file=channel, flush=True)

    module, options = PEERS[name]
    start = time.perf_counter()
    try:
        network = importlib.import_module(module).Network(np.load(pixels_file), n_exc, **options)
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        return tell(missing=str(error))
    about = {"version": network.version, "steps": network.steps, "simulates": network.simulates}
    tell(**about, build_seconds=time.perf_counter() - start)
    for line in sys.stdin:
        images, seconds = network.learn(float(line))
        tell(images=images, seconds=seconds)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
