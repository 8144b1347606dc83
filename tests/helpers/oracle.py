"""The model once more in plain loops over plain numbers, written from the papers.

One synapse, one neuron, one step of 1 ms at a time, standard library only.
"""

import math
from fractions import Fraction

# Random numbers (Salmon et al. 2011) and Poisson spikes.


def philox(counter, key):
    """Return the four words of Philox4x32-10."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high_0, low_0 = divmod(c0 * 0xD2511F53, 2**32)
        high_1, low_1 = divmod(c2 * 0xCD9E8D57, 2**32)
        c0, c1, c2, c3 = high_1 ^ c1 ^ k0, low_1, high_0 ^ c3 ^ k1, low_0
        k0 = (k0 + 0x9E3779B9) % 2**32
        k1 = (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


def spike_threshold(max_rate_hz, dt_ms, value):
    """Return floor(min(1, max_rate_hz * dt/1000 * v/255) * 2^32), exactly."""
    p = min(Fraction(1), Fraction(max_rate_hz) * Fraction(dt_ms) / 1000 * Fraction(value, 255))
    return math.floor(p * 2**32)


def pixel_spikes(limit, pixel, image, presentation, seed, stream, n_steps):
    """Return the spikes of one pixel, a list of 0/1; `limit` is its `spike_threshold`."""
    words = [w for t in range(0, n_steps, 4) for w in philox((t // 4, pixel, image, presentation), (seed, stream))]
    return [int(word < limit) for word in words[:n_steps]]


def image_spikes(image, number, presentation, seed, stream, n_steps, max_rate_hz, dt_ms=1):
    """Return the spikes of an image's pixels, [T][I]."""
    limits = [spike_threshold(max_rate_hz, dt_ms, value) for value in image]
    trains = [
        pixel_spikes(limit, j, number, presentation, seed, stream, n_steps) if limit else [0] * n_steps
        for j, limit in enumerate(limits)
    ]
    return list(zip(*trains, strict=True))


# Learning rules: `step(pre, post, last, threshold)` changes `weight`, a list of rows, one row per neuron.


class Rule:
    """The state of a rule; `published` has the constants of its paper or program."""

    published = {}
    rate = 1  # factor of the schedule

    def __init__(self, weight, **constants):
        self.weight = [list(row) for row in weight]
        vars(self).update({"w_norm": 0.1 * len(weight[0]), **self.published, **constants})
        self.start_image()

    def begin(self):
        """Do what comes before the first step of an image that is learned from."""


class MetaNearestOnline(Rule):
    """Traces of the nearest spike; y persists; a target mean weight per neuron; soft bounds."""

    published = {"a_post": 1e-2, "a_pre": 1e-4, "tau_pre": 30, "tau_post": 200}
    published |= {"target_share": 0.1, "bound": 0.2, "w_min": 0, "w_max": 1}

    def __init__(self, weight, **constants):
        super().__init__(weight, **constants)
        self.y = [0.0] * len(self.weight)
        self.target = [_mean(row) for row in self.weight]
        self.target_mean = _mean(self.target)

    def start_image(self):
        self.x = [0.0] * len(self.weight[0])

    def step(self, pre, post, last, threshold=None):
        d_pre, d_post = math.exp(-1 / self.tau_pre), math.exp(-1 / self.tau_post)
        self.x = [1.0 if s else x * d_pre for x, s in zip(self.x, pre, strict=True)]
        self.y = [1.0 if s else y * d_post for y, s in zip(self.y, post, strict=True)]
        mean_y, share = _mean(self.y), self.rate * self.target_share * self.a_pre
        target = [m - share * (y - mean_y) for m, y in zip(self.target, self.y, strict=True)]
        mean_target = _mean(target)
        self.target = [m * self.target_mean / mean_target for m in target]
        for i, row in enumerate(self.weight):
            factor = self.target[i] / max(_mean(row), 1e-6)
            for j, w in enumerate(row):
                dw = self.a_post * post[i] * self.x[j] - self.a_pre * self.y[i] * pre[j]
                room = w - self.w_min if dw < 0 else self.w_max - w
                row[j] = w * factor + self.rate * dw * math.exp(-self.bound / max(room, 1e-4))


class PostPreInt(Rule):
    """Integers only; `image` is (index of the image, presentation), counters of the stochastic rounding."""

    published = {"nu0": 14, "nu1": 141, "shift": 14, "trace_decay": 31169, "trace_scale": 127}
    published |= {"max_threshold": 4915, "w_min": 0, "w_max": 109}
    seed, image = 0, (0, 0)

    def start_image(self):
        self.number = 0
        self.x = [0] * len(self.weight[0])
        self.y = [0] * len(self.weight)

    def rounded(self, amount, synapse, purpose):
        whole, rest = divmod(amount, 2**self.shift)
        if not rest:
            return whole
        word = philox((self.number, synapse, *self.image), (self.seed, 4))[purpose]
        return whole + (word % 2**self.shift < rest)

    def advance(self, trace, spike):
        return self.trace_scale if spike else (self.trace_decay * trace) // 2**15

    def step(self, pre, post, last, threshold):
        self.x = [self.advance(x, s) for x, s in zip(self.x, pre, strict=True)]
        self.y = [self.advance(y, s) for y, s in zip(self.y, post, strict=True)]
        for i, row in enumerate(self.weight):
            for j in range(len(row)):
                synapse = i * len(row) + j
                if pre[j]:
                    row[j] += self.rounded(self.nu0 * self.y[i], synapse, 0)
                if post[i]:
                    row[j] += self.rounded(self.nu1 * self.x[j], synapse, 1)
                if threshold[i] > self.max_threshold:
                    row[j] = row[j] // 2
                row[j] = min(max(row[j], self.w_min), self.w_max)
        self.number += 1


def nearest(tau):
    """Return how a trace of the nearest spike advances."""
    return lambda self, trace, spike: 1.0 if spike else trace * math.exp(-1 / getattr(self, tau))


def all_to_all(tau):
    """Return how a trace of all spikes advances."""
    return lambda self, trace, spike: trace * math.exp(-1 / getattr(self, tau)) + spike


class SpikeRule(Rule):
    """A rule stated by what an input spike and an output spike do to a weight."""

    never_spiked = 0.0  # x before the first spike

    def start_image(self):
        self.x = [self.never_spiked] * len(self.weight[0])
        self.y = [0.0] * len(self.weight)
        self.y2 = [0.0] * len(self.weight)

    def begin(self):
        if self.normalise == "before_presentation":
            self.scale_rows()
            self.clamp()

    def step(self, pre, post, last, threshold=None):
        self.x = [self.next_x(x, s) for x, s in zip(self.x, pre, strict=True)]
        self.y = [self.next_y(y, s) for y, s in zip(self.y, post, strict=True)]
        y2_before = [self.next_y2(y2, 0) for y2 in self.y2]
        self.y2 = [self.next_y2(y2, s) for y2, s in zip(self.y2, post, strict=True)]
        for i, row in enumerate(self.weight):
            for j in range(len(row)):
                if pre[j]:
                    row[j] += self.rate * self.at_input(row[j], self.y[i])
                if post[i]:
                    row[j] += self.rate * self.at_output(row[j], self.x[j], y2_before[i])
        if self.normalise == "every_step" or (self.normalise == "last_step" and last):
            self.scale_rows()
        self.clamp()

    def scale_rows(self):
        for row in self.weight:
            norm = math.fsum(abs(w) for w in row)
            if norm > 0:
                row[:] = [w * self.w_norm / norm for w in row]

    def clamp(self):
        for row in self.weight:
            row[:] = [min(max(w, 0.0), self.w_max) for w in row]

    def next_y(self, y, spike):
        return 0.0

    def next_y2(self, y2, spike):
        return 0.0

    def at_input(self, w, y):
        return 0.0

    def room(self, w):
        return max(self.w_max - w, 0.0)


class NearestOnline(SpikeRule):
    published = {"a_post": 1e-2, "a_pre": 1e-4, "tau_pre": 20, "tau_post": 20, "normalise": "every_step", "w_max": 1}
    next_x, next_y = nearest("tau_pre"), nearest("tau_post")

    def at_input(self, w, y):
        return -self.a_pre * y

    def at_output(self, w, x, y2):
        return self.a_post * x


class FullOnline(NearestOnline):
    published = NearestOnline.published | {"normalise": "last_step"}
    next_x, next_y = all_to_all("tau_pre"), all_to_all("tau_post")


class Triplet(NearestOnline):
    published = NearestOnline.published | {"tau_post_slow": 40, "normalise": "before_presentation"}
    next_y2 = nearest("tau_post_slow")

    def at_output(self, w, x, y2):
        return self.a_post * x * y2


class PowerLaw(SpikeRule):
    published = {"eta": 1e-2, "x_tar": 0.4, "mu": 0.2, "tau_pre": 20, "normalise": "before_presentation", "w_max": 1}
    next_x = all_to_all("tau_pre")

    def at_output(self, w, x, y2):
        return self.eta * (x - self.x_tar) * self.room(w) ** self.mu


class PowerLawPrePost(SpikeRule):
    published = {"eta_pre": 1e-4, "eta_post": 1e-2, "tau_post": 20}
    published |= {name: value for name, value in PowerLaw.published.items() if name != "eta"}
    next_x, next_y = all_to_all("tau_pre"), all_to_all("tau_post")

    def at_input(self, w, y):
        return -self.eta_pre * y * max(w, 0.0) ** self.mu

    def at_output(self, w, x, y2):
        return self.eta_post * (x - self.x_tar) * self.room(w) ** self.mu


class Exponential(SpikeRule):
    published = {"eta": 1e-2, "x_tar": 0.4, "beta": 1.0, "tau_pre": 20, "normalise": "before_presentation", "w_max": 1}
    next_x = all_to_all("tau_pre")

    def at_output(self, w, x, y2):
        up, down = math.exp(-self.beta * w), math.exp(-self.beta * (self.w_max - w))
        return self.eta * (x * up - self.x_tar * down)


class WeightDependent(NearestOnline):
    published = NearestOnline.published | {"normalise": "last_step"}

    def at_input(self, w, y):
        return -self.a_pre * y * w

    def at_output(self, w, x, y2):
        return self.a_post * x * (self.w_max - w)


class Rectangular(SpikeRule):
    """Output spikes only; x is the time of silence of the input, in ms."""

    never_spiked = math.inf
    published = {"t_ltp": 50, "a_plus": 1.7e-3, "b_plus": 3, "a_minus": 7e-4, "b_minus": 0}
    published |= {"normalise": "never", "w_max": 1}

    def next_x(self, x, spike):
        return 0 if spike else x + 1

    def at_output(self, w, x, y2):
        if x <= self.t_ltp:
            return self.a_plus * math.exp(-self.b_plus * w / self.w_max)
        return -self.a_minus * math.exp(-self.b_minus * (self.w_max - w) / self.w_max)


class Multiplicative(SpikeRule):
    published = {"a_plus": 4e-3, "a_minus": 3e-3, "normalise": "never", "w_max": 1}

    def next_x(self, x, spike):
        return bool(x or spike)

    def at_output(self, w, x, y2):
        return (self.a_plus if x else -self.a_minus) * w * (self.w_max - w)


RULES = {
    "nearest_online": NearestOnline,
    "full_online": FullOnline,
    "meta_nearest_online": MetaNearestOnline,
    "post_pre_int": PostPreInt,
    "triplet": Triplet,
    "power_law": PowerLaw,
    "power_law_pre_post": PowerLawPrePost,
    "exponential": Exponential,
    "weight_dependent": WeightDependent,
    "rectangular": Rectangular,
    "multiplicative": Multiplicative,
}


def replay(rule, pre, post, weight, threshold, **constants):
    """Return the weights after every step, [T][E][I], of one image with the given spikes."""
    state = RULES[rule](weight, **constants)
    history = []
    state.begin()
    for t in range(len(pre)):
        state.step(pre[t], post[t], t == len(pre) - 1, threshold[t])
        history.append([list(row) for row in state.weight])
    return history


def _mean(values):
    return math.fsum(values) / len(values)


# Neurons: one object per neuron, with constants `p` by name; `step` returns whether it spikes. A neuron ignores its
# input for `wait` steps.


class LifInhibitory:
    """A leaky neuron with a fixed threshold and a hard reset."""

    def __init__(self, p):
        self.rest, self.v_reset, self.threshold = (p[f"inhibitory_v_{name}"] for name in ("rest", "reset", "threshold"))
        self.decay, self.refractory = math.exp(-1 / p["tau_inhibitory"]), p["inhibitory_refractory"]
        self.start_image()

    def start_image(self):
        self.v, self.wait = self.rest, 0

    def step(self, current, threshold=None):
        self.v = self.decay * (self.v - self.rest) + self.rest
        if self.wait > 0:
            self.wait -= 1
        else:
            self.v += current
        spike = self.v > (self.threshold if threshold is None else threshold)
        if spike:
            self.reset()
            self.wait = self.refractory
        return spike

    def reset(self):
        self.v = self.v_reset


class Lif(LifInhibitory):
    """Excitatory: threshold V_th + theta, hard reset."""

    def __init__(self, p, theta=0.0):
        self.rest, self.v_reset, self.v_threshold = p["v_rest"], p["v_reset"], p["v_threshold"]
        self.decay, self.theta_decay = math.exp(-1 / p["tau_v"]), math.exp(-1 / p["tau_theta"])
        self.increment, self.refractory, self.theta = p["theta_increment"], p["refractory"], theta
        self.start_image()

    def step(self, current, learning):
        if learning:
            self.theta *= self.theta_decay
        spike = super().step(current, self.v_threshold + self.theta)
        if spike and learning:
            self.theta += self.growth()
        return spike

    def growth(self):
        return self.increment


class Alif(Lif):
    """Excitatory, without units: soft reset, the threshold grows in proportion."""

    def reset(self):
        self.v -= self.v_reset

    def growth(self):
        return self.increment * (self.v_threshold + self.theta)


class IntegerNeuron:
    """Excitatory, integers only; theta is the whole threshold."""

    def __init__(self, p, theta):
        self.p, self.theta = p, theta
        self.start_image()

    def start_image(self):
        self.v, self.wait = 0, 0

    def step(self, current, learning):
        p, limit = self.p, self.p["v_limit"]
        if learning and self.theta > p["max_threshold"]:
            self.theta //= 2
        self.v = p["v_decay"] * self.v // 1024
        if self.wait > 0:
            self.wait -= 1
        else:
            self.v += min(max(current, -limit), limit) * p["current_gain"] // 1024
        spike = self.v > self.theta
        if spike:
            self.v, self.wait = 0, p["refractory"]
            if learning:
                self.theta += p["theta_increment"]
        self.v = max(self.v, -limit)
        return spike


class IntegerInhibitory:
    """The integer partner, without leak."""

    def __init__(self, p):
        self.threshold = p["inhibitory_v_threshold"]
        self.start_image()

    def start_image(self):
        self.v = 0

    def step(self, current):
        self.v += current
        spike = self.v > self.threshold
        if spike:
            self.v = 0
        return spike


GROUPS = {
    "lif_stdp": (Lif, LifInhibitory),
    "diehl_cook": (Lif, LifInhibitory),
    "alif_stdp": (Alif, LifInhibitory),
    "diehl_cook_int": (IntegerNeuron, IntegerInhibitory),
}


class Network:
    """The order of one step: current, excitatory neurons, inhibitory neurons, learning."""

    def __init__(self, rule, group, p, theta):
        excitatory, inhibitory = GROUPS[group]
        self.rule, self.w_ei, self.w_ie, self.k_winners = rule, p["w_ei"], p["w_ie"], len(theta)
        self.excitatory = [excitatory(p, each) for each in theta]
        self.inhibitory = [inhibitory(p) for _ in theta]
        self.n_inhibitory = 0  # all spikes of inhibitory neurons so far

    @property
    def weight(self):
        return self.rule.weight

    @property
    def theta(self):
        return [neuron.theta for neuron in self.excitatory]

    def present(self, input_spikes, learning):
        """Show one image, input_spikes[T][I]; return the counts of its spikes, [E]."""
        self.rule.start_image()
        if learning:
            self.rule.begin()
        for neuron in (*self.excitatory, *self.inhibitory):
            neuron.start_image()
        n_exc = len(self.excitatory)
        inhibition, counts, learners = [0] * n_exc, [0] * n_exc, []
        for t, pre in enumerate(input_spikes):
            post = []
            for i, neuron in enumerate(self.excitatory):
                current = sum(w for w, s in zip(self.weight[i], pre, strict=True) if s)
                current -= self.w_ie * (sum(inhibition) - inhibition[i])
                post.append(int(neuron.step(current, learning)))
            inhibition = [int(n.step(self.w_ei * s)) for n, s in zip(self.inhibitory, post, strict=True)]
            self.n_inhibitory += sum(inhibition)
            if learning:
                learners += [i for i in range(n_exc) if post[i] and i not in learners]
                del learners[self.k_winners :]
                seen = [spike if i in learners else 0 for i, spike in enumerate(post)]
                self.rule.step(pre, seen, t == len(input_spikes) - 1, self.theta)
            counts = [n + s for n, s in zip(counts, post, strict=True)]
        return counts
