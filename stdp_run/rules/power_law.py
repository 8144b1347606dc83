"""Rules of Diehl & Cook 2015 with a target of the presynaptic trace and weight dependence."""

from typing import Any

from stdp_run.elementwise import exp, power
from stdp_run.parameters import non_negative, number, time_constant
from stdp_run.rules.pair import FullOnline
from stdp_run.rules.spike import OutputSpikeRule, SpikeRule


class PowerLaw(OutputSpikeRule):
    """power_law: changes at output spikes only, a power of the distance to w_max.

    Equations::

        x <- d_pre x + s_in
        w <- w + rate * eta (x - x_tar) (w_max - w)^mu    at an output spike

    Inputs with a trace below x_tar are depressed. With mu = 0 changes do not depend on the weight.

    Source: Diehl & Cook 2015, eq. 2.
    """

    parameters = {
        "eta": number,
        "x_tar": number,
        "mu": non_negative,
        "tau_pre": time_constant("d_pre"),
        **OutputSpikeRule.parameters,
    }

    pre_trace = staticmethod(FullOnline.pre_trace)

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return p.eta * (x - p.x_tar) * power(p.w_max - w, p.mu)


class PowerLawPrePost(SpikeRule):
    """power_law_pre_post: `power_law` with depression at input spikes as well.

    Traces::

        x <- d_pre x + s_in
        y <- d_post y + s_exc

    Weights::

        w <- w - rate * eta_pre y w^mu                         at an input spike
        w <- w + rate * eta_post (x - x_tar) (w_max - w)^mu    at an output spike

    Source: Diehl & Cook 2015, eq. 3.
    """

    changes_silent_inputs = True
    parameters = {
        "eta_post": number,
        "eta_pre": number,
        "x_tar": number,
        "mu": non_negative,
        "tau_pre": time_constant("d_pre"),
        "tau_post": time_constant("d_post"),
        **SpikeRule.parameters,
    }

    pre_trace = staticmethod(FullOnline.pre_trace)
    post_trace = staticmethod(FullOnline.post_trace)

    @staticmethod
    def at_input(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return -p.eta_pre * y * power(w, p.mu)

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return p.eta_post * (x - p.x_tar) * power(p.w_max - w, p.mu)


class Exponential(OutputSpikeRule):
    """exponential: changes at output spikes only, exponential in the weight.

    Equations::

        x <- d_pre x + s_in
        w <- w + rate * eta (x e^(-beta w) - x_tar e^(-beta (w_max - w)))    at an output spike

    Inputs without a recent spike are depressed. With beta = 0 the rule equals `power_law` with mu = 0.

    Source: Diehl & Cook 2015, eq. 4.
    """

    parameters = {
        "eta": number,
        "x_tar": number,
        "beta": non_negative,
        "tau_pre": time_constant("d_pre"),
        **OutputSpikeRule.parameters,
    }

    pre_trace = staticmethod(FullOnline.pre_trace)

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return p.eta * (x * exp(-p.beta * w) - p.x_tar * exp(-p.beta * (p.w_max - w)))
