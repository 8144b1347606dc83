"""The neuron groups; `list(stdp_run.neurons)` lists their names."""

# ruff: noqa: F401  these names are given on

from stdp_run.neurons.base import NeuronGroup
from stdp_run.neurons.conductance import ConductanceGroup, DiehlCook2015
from stdp_run.neurons.integer import IntegerDiehlCook
from stdp_run.neurons.lif import ALIF, LIF
from stdp_run.registry import make_registry

registered = make_registry(
    __name__,
    lif_stdp=LIF,
    alif_stdp=ALIF,
    diehl_cook=LIF,  # with other constants
    diehl_cook_int=IntegerDiehlCook,
    diehl_cook_2015=DiehlCook2015,
)
