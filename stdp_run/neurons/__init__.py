"""The neuron groups; `list(stdp_run.neurons)` lists their names."""

from stdp_run.neurons.base import NeuronGroup as NeuronGroup
from stdp_run.neurons.conductance import ConductanceGroup as ConductanceGroup
from stdp_run.neurons.conductance import DiehlCook2015 as DiehlCook2015
from stdp_run.neurons.integer import IntegerDiehlCook as IntegerDiehlCook
from stdp_run.neurons.lif import ALIF as ALIF
from stdp_run.neurons.lif import LIF as LIF
from stdp_run.registry import make_registry

registered = make_registry(
    __name__,
    lif_stdp=LIF,
    alif_stdp=ALIF,
    diehl_cook=LIF,  # with other constants
    diehl_cook_int=IntegerDiehlCook,
    diehl_cook_2015=DiehlCook2015,
)
