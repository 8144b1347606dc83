"""Rules that change the weights of all inputs at an output spike; `PowerLawPrePost` also acts at input spikes."""

from typing import Any

from stdp_run.elementwise import exp, minimum, power, where
from stdp_run.parameters import duration, non_negative, number, time_constant
from stdp_run.rules.pair import FullOnline
from stdp_run.rules.spike import OutputSpikeRule, SpikeRule

NEVER_SPIKED = 1e6  # steps, more than any image has
OF_TARGET = {"x_tar": number, "tau_pre": time_constant("d_pre")}  # the target of a presynaptic trace


class PowerLaw(OutputSpikeRule):
    """power_law: changes at output spikes only, a power of the distance to w_max.

    Equations::

        x <- d_pre x + s_in
        w <- w + rate * eta (x - x_tar) (w_max - w)^mu    at an output spike

    Inputs with a trace below x_tar are depressed. With mu = 0 changes do not depend on the weight.

    Source: Diehl & Cook 2015, eq. 2.
    """

    parameters = {"eta": number, "mu": non_negative, **OF_TARGET, **OutputSpikeRule.parameters}

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
        "mu": non_negative,
        "tau_post": time_constant("d_post"),
        **OF_TARGET,
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

    parameters = {"eta": number, "beta": non_negative, **OF_TARGET, **OutputSpikeRule.parameters}

    pre_trace = staticmethod(FullOnline.pre_trace)

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return p.eta * (x * exp(-p.beta * w) - p.x_tar * exp(-p.beta * (p.w_max - w)))


class Rectangular(OutputSpikeRule):
    """rectangular: changes at output spikes only, with a rectangular STDP window.

    The trace x counts the steps since the last input spike::

        x <- 0 where s_in = 1, else x + 1

    At an output spike, inputs that spiked within t_ltp are potentiated, and all others depressed::

        w <- w + rate * a_plus e^(-b_plus w / w_max)                where x <= t_ltp

        w <- w - rate * a_minus e^(-b_minus (w_max - w) / w_max)    elsewhere

    Source: Querlioz et al. 2013, eq. 1 and 2, here with w_min = 0.
    """

    parameters = {
        "t_ltp": duration("steps_ltp"),
        "a_plus": number,
        "b_plus": number,
        "a_minus": number,
        "b_minus": number,
        **OutputSpikeRule.parameters,
    }

    @staticmethod
    def start_pre(p: Any) -> float:
        return NEVER_SPIKED

    @staticmethod
    def pre_trace(p: Any, x: Any, spike: Any) -> Any:
        return where(spike > 0, 0.0, minimum(x + 1.0, NEVER_SPIKED))

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        rise = p.a_plus * exp(-p.b_plus / p.w_max * w)
        fall = p.a_minus * exp(-p.b_minus / p.w_max * (p.w_max - w))
        return where(x <= p.steps_ltp, rise, -fall)


class Multiplicative(OutputSpikeRule):
    """multiplicative: changes at output spikes only, by the order of spikes, with soft bounds.

    The trace x is 1 once the input has spiked in this image. At an output spike, these inputs are potentiated, and all
    others depressed::

        w <- w + rate * a_plus w (w_max - w)     where x = 1
        w <- w - rate * a_minus w (w_max - w)    elsewhere

    Source: Kheradpisheh et al. 2018, eq. 3, where w_max = 1.
    """

    traces_of_image = ("x",)
    parameters = {"a_plus": number, "a_minus": number, **OutputSpikeRule.parameters}

    @staticmethod
    def pre_trace(p: Any, x: Any, spike: Any) -> Any:
        return where(spike > 0, 1.0, x)

    @staticmethod
    def at_output(p: Any, w: Any, x: Any, y: Any, y2: Any) -> Any:
        return where(x > 0, p.a_plus * w, -p.a_minus * w) * (p.w_max - w)
