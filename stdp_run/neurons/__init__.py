"""The neuron groups; `list(stdp_run.neurons)` names them. Each is excitatory neurons and their inhibitory partners."""

from stdp_run.neurons.base import NeuronGroup
from stdp_run.neurons.conductance import ConductanceGroup, DiehlCook2015
from stdp_run.neurons.integer import IntegerDiehlCook
from stdp_run.neurons.lif import ALIF, LIF, DiehlCook
from stdp_run.registry import make_registry

__all__ = ["ALIF", "LIF", "ConductanceGroup", "DiehlCook", "DiehlCook2015", "IntegerDiehlCook", "NeuronGroup"]

registered = make_registry(
    __name__,
    lif_stdp=LIF,
    alif_stdp=ALIF,
    diehl_cook=DiehlCook,
    diehl_cook_int=IntegerDiehlCook,
    diehl_cook_2015=DiehlCook2015,
)
