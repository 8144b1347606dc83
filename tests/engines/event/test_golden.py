"""Golden digests: weights and theta after 100 images, to the last bit on every processor.

`tests/golden.json` holds them. To write the digests of the current code, run this file with
`STDP_RUN_WRITE_GOLDEN=1 pytest -m "slow or not slow" tests/engines/event/test_golden.py`.
"""

import hashlib
import json
import os
from pathlib import Path

import pytest
from helpers.networks import COMPILED_FAST, learn, make, make_model, pictures

from stdp_run import rules
from stdp_run.engines.event.learning import _BUILT_IN, implementation_of

GOLDEN = Path(__file__).parents[2] / "golden.json"
# A pair of rule and neuron group for each compiled implementation, and for each kind of kernel that it runs in.
FRAMES = [
    (("nearest_online", "diehl_cook"), "float64"),
    (("nearest_online", "diehl_cook"), "float32"),
    (("meta_nearest_online", "diehl_cook"), "float64"),
    (("meta_nearest_online", "diehl_cook"), "float32"),
    (("post_pre_int", "diehl_cook_int"), "int32"),
    (("triplet", "diehl_cook_2015"), "float64"),
    (("triplet", "diehl_cook_2015"), "float32"),
]
CHANGED = """{name} has other bits after 100 images than tests/golden.json says.
If figures are to change: add an entry under "Changes results" in CHANGELOG.md, then write the digests anew with
STDP_RUN_WRITE_GOLDEN=1 pytest -m "slow or not slow" tests/engines/event/test_golden.py"""


def digest(pair, dtype) -> str:
    """Return the digest of weights and theta after 100 images; asserts that the network has learned."""
    network = make("event", make_model(pair, dtype="float64" if dtype == "int32" else dtype))
    assert learn(network, pictures(196)).sum() > 500
    state = network.state()
    assert state.weight.dtype == dtype
    return hashlib.sha256(state.weight.tobytes() + state.theta.tobytes()).hexdigest()


def test_every_implementation_has_a_digest():
    assert {implementation_of(rules[rule]) for (rule, _), _ in FRAMES} == set(_BUILT_IN.values())


@pytest.mark.parametrize(
    ("pair", "dtype"),
    [
        pytest.param(pair, dtype, marks=[] if pair in COMPILED_FAST and dtype != "float32" else pytest.mark.slow)
        for pair, dtype in FRAMES
    ],
)
def test_a_network_learns_the_same_bits(pair, dtype):
    name, found = "-".join((*pair, dtype)), digest(pair, dtype)
    if os.environ.get("STDP_RUN_WRITE_GOLDEN"):
        golden = json.loads(GOLDEN.read_text())
        golden["learning"][name] = found
        GOLDEN.write_text(json.dumps(golden, indent=2, sort_keys=True) + "\n")
    assert json.loads(GOLDEN.read_text())["learning"].get(name) == found, CHANGED.format(name=name)
