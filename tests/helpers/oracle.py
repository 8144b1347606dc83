"""The model once more, in plain loops over plain numbers, written from the specification and from nothing else.

Slow on purpose: one synapse, one neuron, one step at a time, standard library only. The tests compare the package
with these.
"""

import math
from fractions import Fraction

# ------------------------------------------------------------------------------------------------------------------
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


def pixel_spikes(value, pixel, image, epoch, seed, stream, n_steps, max_rate_hz, dt_ms=1):
    """Return the spikes of one pixel, a list of 0/1."""
    limit = spike_threshold(max_rate_hz, dt_ms, value)
    return [int(philox((t // 4, pixel, image, epoch), (seed, stream))[t % 4] < limit) for t in range(n_steps)]


# ------------------------------------------------------------------------------------------------------------------
# Learning rules: `step(pre, post, last, threshold)` changes `weight`, a list of rows, one row per neuron.


class Rule:
    """What is the same for all rules."""

    def begin(self):
        """Do what comes before the first step of an image that is learned from."""


class MetaNearestOnline(Rule):
    """Nearest-spike traces, of which y lasts; a target mean weight per neuron; soft bounds."""

    def __init__(
        self,
        weight,
        *,
        a_post=1e-2,
        a_pre=1e-4,
        tau_pre=30,
        tau_post=200,
        target_share=0.1,
        bound=0.2,
        w_min=0,
        w_max=1,
    ):
        self.weight = [list(row) for row in weight]
        self.target_share, self.bound = target_share, bound
        self.a_post, self.a_pre, self.w_min, self.w_max = a_post, a_pre, w_min, w_max
        self.d_pre, self.d_post = math.exp(-1 / tau_pre), math.exp(-1 / tau_post)
        self.y = [0.0] * len(self.weight)
        self.target = [_mean(row) for row in self.weight]
        self.target_mean = _mean(self.target)
        self.start_image()

    def start_image(self):
        self.x = [0.0] * len(self.weight[0])

    def step(self, pre, post, last, threshold=None):
        self.x = [1.0 if s else x * self.d_pre for x, s in zip(self.x, pre, strict=True)]
        self.y = [1.0 if s else y * self.d_post for y, s in zip(self.y, post, strict=True)]
        mean_y = _mean(self.y)
        target = [m - self.target_share * self.a_pre * (y - mean_y) for m, y in zip(self.target, self.y, strict=True)]
        mean_target = _mean(target)
        self.target = [m * self.target_mean / mean_target for m in target]
        for i, row in enumerate(self.weight):
            factor = self.target[i] / max(_mean(row), 1e-6)
            for j, w in enumerate(row):
                dw = self.a_post * post[i] * self.x[j] - self.a_pre * self.y[i] * pre[j]
                room = w - self.w_min if dw < 0 else self.w_max - w
                row[j] = w * factor + dw * math.exp(-self.bound / max(room, 1e-4))


class PostPreInt(Rule):
    """Integers only. Exact where nu0 and nu1 are multiples of 2^shift; else `draw()` gives u in 0..2^shift - 1."""

    def __init__(
        self,
        weight,
        *,
        nu0=14,
        nu1=141,
        shift=14,
        trace_decay=31169,
        trace_scale=127,
        max_threshold=4915,
        w_min=0,
        w_max=109,
        draw=None,
    ):
        self.weight = [[int(w) for w in row] for row in weight]
        self.nu0, self.nu1, self.shift = nu0, nu1, shift
        self.trace_decay, self.trace_scale = trace_decay, trace_scale
        self.max_threshold, self.w_min, self.w_max = max_threshold, w_min, w_max
        self.draw = draw
        self.start_image()

    def start_image(self):
        self.x = [0] * len(self.weight[0])
        self.y = [0] * len(self.weight)

    def rounded(self, amount):
        whole, rest = divmod(amount, 2**self.shift)
        return whole + (self.draw() < rest if rest else 0)

    def advance(self, trace, spike):
        return self.trace_scale if spike else (self.trace_decay * trace) // 2**15

    def step(self, pre, post, last, threshold):
        self.x = [self.advance(x, s) for x, s in zip(self.x, pre, strict=True)]
        self.y = [self.advance(y, s) for y, s in zip(self.y, post, strict=True)]
        for i, row in enumerate(self.weight):
            for j in range(len(row)):
                if pre[j]:
                    row[j] += self.rounded(self.nu0 * self.y[i])
                if post[i]:
                    row[j] += self.rounded(self.nu1 * self.x[j])
                if threshold[i] > self.max_threshold:
                    row[j] = row[j] // 2
                row[j] = min(max(row[j], self.w_min), self.w_max)


class SpikeRule(Rule):
    """A rule stated by what an input spike and an output spike do to a weight; steps of 1 ms."""

    never_spiked = 0.0  # x before the first spike
    published = {}

    def __init__(self, weight, *, w_norm=None, w_max=1, **constants):
        self.weight = [list(row) for row in weight]
        self.w_max, self.w_norm = w_max, w_norm or 0.1 * len(weight[0])
        vars(self).update({**self.published, **constants})
        self.start_image()

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
                    row[j] += self.at_input(row[j], self.y[i])
            for j in range(len(row)):
                if post[i]:
                    row[j] += self.at_output(row[j], self.x[j], y2_before[i])
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

    def nearest(self, trace, tau, spike):
        return 1.0 if spike else trace * math.exp(-1 / tau)

    def all_to_all(self, trace, tau, spike):
        return trace * math.exp(-1 / tau) + spike

    def room(self, w):
        return max(self.w_max - w, 0.0)


class NearestOnline(SpikeRule):
    """Pairs; nearest spikes."""

    published = {"a_post": 1e-2, "a_pre": 1e-4, "tau_pre": 20, "tau_post": 20, "normalise": "every_step"}

    def next_x(self, x, spike):
        return self.nearest(x, self.tau_pre, spike)

    def next_y(self, y, spike):
        return self.nearest(y, self.tau_post, spike)

    def at_input(self, w, y):
        return -self.a_pre * y

    def at_output(self, w, x, y2):
        return self.a_post * x


class FullOnline(NearestOnline):
    """Pairs; all spikes add up."""

    published = NearestOnline.published | {"normalise": "last_step"}

    def next_x(self, x, spike):
        return self.all_to_all(x, self.tau_pre, spike)

    def next_y(self, y, spike):
        return self.all_to_all(y, self.tau_post, spike)


class Triplet(SpikeRule):
    """Pairs depress, triplets potentiate; nearest spikes."""

    published = {
        "a_pre": 1e-4,
        "a_post": 1e-2,
        "tau_pre": 20,
        "tau_post": 20,
        "tau_post_slow": 40,
        "normalise": "before_presentation",
    }

    def next_x(self, x, spike):
        return self.nearest(x, self.tau_pre, spike)

    def next_y(self, y, spike):
        return self.nearest(y, self.tau_post, spike)

    def next_y2(self, y2, spike):
        return self.nearest(y2, self.tau_post_slow, spike)

    def at_input(self, w, y):
        return -self.a_pre * y

    def at_output(self, w, x, y2):
        return self.a_post * x * y2


class PowerLaw(SpikeRule):
    """Output spikes only; a target for x, a power of the room."""

    published = {"eta": 1e-2, "x_tar": 0.4, "mu": 0.2, "tau_pre": 20, "normalise": "before_presentation"}

    def next_x(self, x, spike):
        return self.all_to_all(x, self.tau_pre, spike)

    def at_output(self, w, x, y2):
        return self.eta * (x - self.x_tar) * self.room(w) ** self.mu


class PowerLawPrePost(SpikeRule):
    """The same, with depression at input spikes."""

    published = {
        "eta_pre": 1e-4,
        "eta_post": 1e-2,
        "x_tar": 0.4,
        "mu": 0.2,
        "tau_pre": 20,
        "tau_post": 20,
        "normalise": "before_presentation",
    }

    def next_x(self, x, spike):
        return self.all_to_all(x, self.tau_pre, spike)

    def next_y(self, y, spike):
        return self.all_to_all(y, self.tau_post, spike)

    def at_input(self, w, y):
        return -self.eta_pre * y * max(w, 0.0) ** self.mu

    def at_output(self, w, x, y2):
        return self.eta_post * (x - self.x_tar) * self.room(w) ** self.mu


class Exponential(SpikeRule):
    """Output spikes only; a target, exponential in the weight."""

    published = {"eta": 1e-2, "x_tar": 0.4, "beta": 1.0, "tau_pre": 20, "normalise": "before_presentation"}

    def next_x(self, x, spike):
        return self.all_to_all(x, self.tau_pre, spike)

    def at_output(self, w, x, y2):
        up, down = math.exp(-self.beta * w), math.exp(-self.beta * (self.w_max - w))
        return self.eta * (x * up - self.x_tar * down)


class WeightDependent(SpikeRule):
    """Pairs, in proportion to the weight or to the room."""

    published = {"a_pre": 1e-4, "a_post": 1e-2, "tau_pre": 20, "tau_post": 20, "normalise": "last_step"}

    def next_x(self, x, spike):
        return self.nearest(x, self.tau_pre, spike)

    def next_y(self, y, spike):
        return self.nearest(y, self.tau_post, spike)

    def at_input(self, w, y):
        return -self.a_pre * y * w

    def at_output(self, w, x, y2):
        return self.a_post * x * (self.w_max - w)


class Rectangular(SpikeRule):
    """Output spikes only; x is the time of silence of the input, in ms."""

    never_spiked = math.inf
    published = {"t_ltp": 50, "a_plus": 1.7e-3, "b_plus": 3, "a_minus": 7e-4, "b_minus": 0, "normalise": "never"}

    def next_x(self, x, spike):
        return 0 if spike else x + 1

    def at_output(self, w, x, y2):
        if x <= self.t_ltp:
            return self.a_plus * math.exp(-self.b_plus * w / self.w_max)
        return -self.a_minus * math.exp(-self.b_minus * (self.w_max - w) / self.w_max)


class Multiplicative(SpikeRule):
    """Output spikes only; x says whether the input has spiked in the image."""

    published = {"a_plus": 4e-3, "a_minus": 3e-3, "normalise": "never"}

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


def replay(rule, pre, post, weight, threshold=None, **constants):
    """Return the weights after every step, [T][E][I], of one image with the given spikes."""
    state = RULES[rule](weight, **constants)
    history = []
    state.begin()
    for t in range(len(pre)):
        state.step(pre[t], post[t], t == len(pre) - 1, threshold[t] if threshold is not None else None)
        history.append([list(row) for row in state.weight])
    return history


def _mean(values):
    return math.fsum(values) / len(values)


# ------------------------------------------------------------------------------------------------------------------
# Neurons: one object per neuron; `step` returns whether it spikes. `wait` counts the steps in which input is ignored.


class Lif:
    """Excitatory: threshold V_th + theta, hard reset."""

    v_threshold, v_reset, v_rest, increment = -52.0, -60.0, -65.0, 0.05
    d_v, d_theta = math.exp(-1 / 100), math.exp(-1 / 1e7)

    def __init__(self, refractory=0, theta=0.0):
        self.refractory, self.theta = refractory, theta
        self.start_image()

    def start_image(self):
        self.v, self.wait = self.v_rest, 0

    def step(self, current, learning):
        self.v = self.d_v * (self.v - self.v_rest) + self.v_rest
        if self.wait > 0:
            self.wait -= 1
        else:
            self.v += current
        if learning:
            self.theta *= self.d_theta
        spike = self.v > self.v_threshold + self.theta
        if spike:
            self.reset(learning)
            self.wait = self.refractory
        return spike

    def reset(self, learning):
        self.v = self.v_reset
        if learning:
            self.theta += self.increment


class Alif(Lif):
    """Excitatory, without units: soft reset, the threshold grows in proportion."""

    v_threshold, v_reset, v_rest, increment = 2.0, 2.0, 0.0, 0.001
    d_theta = math.exp(-1 / 1e5)

    def reset(self, learning):
        self.v -= self.v_reset
        if learning:
            self.theta += self.increment * (self.v_threshold + self.theta)


class LifInhibitory:
    """The inhibitory partner of the two groups above."""

    v_threshold, v_reset, v_rest = -40.0, -45.0, -60.0
    d_v = math.exp(-1 / 10)

    def __init__(self, refractory=0):
        self.refractory = refractory
        self.start_image()

    def start_image(self):
        self.v, self.wait = self.v_rest, 0

    def step(self, current):
        self.v = self.d_v * (self.v - self.v_rest) + self.v_rest
        if self.wait > 0:
            self.wait -= 1
        else:
            self.v += current
        spike = self.v > self.v_threshold
        if spike:
            self.v, self.wait = self.v_reset, self.refractory
        return spike


class IntegerNeuron:
    """Excitatory, integers only; theta is the whole threshold."""

    def __init__(self, max_threshold=4915, theta=213):
        self.max_threshold, self.theta = max_threshold, theta
        self.start_image()

    def start_image(self):
        self.v, self.wait = 0, 0

    def step(self, current, learning):
        current = min(max(current, -32767), 32767)
        if learning and self.theta > self.max_threshold:
            self.theta //= 2
        self.v = 1013 * self.v // 1024
        if self.wait <= 0:
            self.v += current * 154 // 1024
        self.wait -= 1
        spike = self.v > self.theta
        if spike:
            self.v, self.wait = 0, 5
            if learning:
                self.theta += 66
        self.v = max(self.v, -32767)
        return spike


class IntegerInhibitory:
    """The integer partner: it passes each spike on."""

    def __init__(self):
        self.start_image()

    def start_image(self):
        self.v = 0

    def step(self, current):
        self.v += current
        spike = self.v > 1
        if spike:
            self.v = 0
        return spike


# ------------------------------------------------------------------------------------------------------------------


class Network:
    """The order of one step: current, excitatory neurons, inhibitory neurons, learning."""

    def __init__(self, rule, excitatory, inhibitory, w_ei, w_ie, k_winners=None):
        self.rule, self.excitatory, self.inhibitory, self.w_ei, self.w_ie = rule, excitatory, inhibitory, w_ei, w_ie
        self.k_winners = len(excitatory) if k_winners is None else k_winners

    def present(self, input_spikes, learning):
        """Show one image, input_spikes[T][I]; return its spikes [T][E]."""
        self.rule.start_image()
        if learning:
            self.rule.begin()
        for neuron in (*self.excitatory, *self.inhibitory):
            neuron.start_image()
        n_exc = len(self.excitatory)
        inhibition = [0] * n_exc
        learners = []
        train = []
        for t, pre in enumerate(input_spikes):
            post = []
            for i, neuron in enumerate(self.excitatory):
                current = sum(w for w, s in zip(self.rule.weight[i], pre, strict=True) if s)
                current -= self.w_ie * (sum(inhibition) - inhibition[i])
                post.append(int(neuron.step(current, learning)))
            inhibition = [int(n.step(self.w_ei * s)) for n, s in zip(self.inhibitory, post, strict=True)]
            if learning:
                learners += [i for i in range(n_exc) if post[i] and i not in learners]
                del learners[self.k_winners :]
                seen = [spike if i in learners else 0 for i, spike in enumerate(post)]
                self.rule.step(pre, seen, t == len(input_spikes) - 1, [n.theta for n in self.excitatory])
            train.append(post)
        return train
