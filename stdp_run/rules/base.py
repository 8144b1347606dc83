"""What an engine asks of a learning rule."""


class Rule:
    """A learning rule for the plastic weights `weight[E, I]` from inputs to excitatory neurons.

    A rule of one's own that fits the frame of `PairRule` derives from it and runs on both engines. Any other derives
    from this class, states whole-tensor updates in `step`, and runs on the torch engine.

    Attributes:
        aliases: further names under which the rule is known.
        arithmetic: "float" or "int", the kind of neuron group that it works with.
        neuron: a registered neuron group that it works with, named where another is refused.
        event_module: name of the module that holds the rule's event half, or None: torch engine only.
        parameters: every key of the YAML with what its value may be (stdp_run.parameters).
    """

    aliases: tuple[str, ...] = ()
    arithmetic = "float"
    neuron = "lif_stdp"
    event_module: str | None = None
    parameters: dict = {}

    @classmethod
    def runs_on_event_engine(cls) -> bool:
        """Return whether the event engine can run the rule: not if a class of one's own replaced `step` alone."""
        if cls.event_module is None:
            return False
        has = [next(base for base in cls.__mro__ if name in vars(base)) for name in ("step", "event_module")]
        return issubclass(has[1], has[0])

    @staticmethod
    def persistent(p, weight):
        """Return what the rule keeps from image to image, name -> NumPy array, for the initial `weight[E, I]`."""
        return {}

    @staticmethod
    def start(p, persistent, pre, post):
        """Return the traces at the start of an image, a dict of tensors.

        Args:
            persistent: what the rule keeps, name -> tensor.
            pre: zeros [B, I], the shape and type of presynaptic traces.
            post: zeros [B, E], likewise.
        """
        return {"x": pre, "y": post}

    @staticmethod
    def step(p, moment, weight, traces):
        """Return (weight[E, I], traces) after one step; `moment` (network.Moment) holds the spikes of the step."""
        raise NotImplementedError

    @staticmethod
    def finish(p, traces):
        """Return what the rule keeps, name -> tensor, from the traces at the end of an image."""
        return {}


class NearestTraces(Rule):
    """A rule whose traces are those of the nearest spike: 1 at the spike, then decaying (SPAIC)."""

    @staticmethod
    def pre_trace(p, x, spike):
        """Return the presynaptic trace after this step's `spike` (0 or 1): the nearest spike's, at most 1."""
        x = x * p.d_pre
        return x - x * spike + spike

    @staticmethod
    def post_trace(p, y, spike):
        """Return the postsynaptic trace after this step's `spike` (0 or 1)."""
        y = y * p.d_post
        return y - y * spike + spike

    @staticmethod
    def depresses(p):
        """Return False where an input spike alone never changes a weight: that saves work, and changes nothing."""
        return p.a_pre != 0
