"""The network of Diehl & Cook 2015 with its triplet rule in plain loops, from the paper and its scripts.

One synapse, one neuron, one step at a time, standard library only. Every synapse has its own trace, of the spikes as
they arrive at it.
"""

import math
from types import SimpleNamespace

from helpers.oracle import philox

DT = 0.5  # ms


def delay_of(i, j, max_delay, seed):
    """Return the delay of the synapse from input j to neuron i, in steps."""
    word = philox((i // 4, j, 0, 0), (seed, 6))[i % 4]
    return word * (round(max_delay / DT) + 1) // 2**32


class Cell:
    """An excitatory neuron, or an inhibitory one, whose inhibitory conductance stays 0."""

    def __init__(self, rest, reset, start, tau, held):
        self.rest, self.reset, self.tau, self.held = rest, reset, tau, held
        self.v, self.g_e, self.g_i, self.wait = start, 0.0, 0.0, 0

    def step(self, excitation, inhibition, threshold, tau_inhibition=2.0):
        """Advance by the conductances that arrive; return whether it fires above `threshold`."""
        self.g_e = self.g_e * math.exp(-DT / 1.0) + excitation
        self.g_i = self.g_i * math.exp(-DT / tau_inhibition) + inhibition
        if self.wait > 0:
            self.wait -= 1
        else:
            g = 1 + self.g_e + self.g_i
            at_end = (self.rest + 0.0 * self.g_e - 100.0 * self.g_i) / g
            self.v = at_end + (self.v - at_end) * math.exp(-DT * g / self.tau)
        fires = self.v > threshold
        if fires:
            self.v, self.wait = self.reset, self.held
        return fires


class Network:
    """The network as it runs on from image to image; `p` and `rule` hold constants by name."""

    def __init__(self, weight, p, rule, seed, rest_steps):
        self.weight, self.p, self.constants, self.rest_steps = [list(row) for row in weight], p, rule, rest_steps
        self.n_exc, self.n_inputs = len(weight), len(weight[0])
        inputs = range(self.n_inputs)
        self.delay = [[delay_of(i, j, p["max_delay"], seed) for j in inputs] for i in range(self.n_exc)]
        self.rule = SimpleNamespace(rate=1)
        self.theta = [p["theta_start"]] * self.n_exc
        self.x = [[0.0] * self.n_inputs for _ in range(self.n_exc)]
        self.y, self.y2 = [0.0] * self.n_exc, [0.0] * self.n_exc
        self.w_ie, self.n_inhibitory = p["w_ie"], 0
        self.awaken(-105.0, -100.0)

    def awaken(self, start, inhibitory_start):
        """Put all neurons where they start."""
        held, inhibitory_held = self.p["refractory"], self.p["inhibitory_refractory"]
        self.excitatory = [Cell(-65.0, -65.0, start, 100.0, held) for _ in range(self.n_exc)]
        self.inhibitory = [Cell(-60.0, -45.0, inhibitory_start, 10.0, inhibitory_held) for _ in range(self.n_exc)]
        self.fired = [0] * self.n_exc

    def present(self, spikes, learning):
        """Present spikes[T][I], then a rest; return the counts of the T steps."""
        counts = [0] * self.n_exc
        if learning:
            self.normalise()
        else:
            self.awaken(-65.0, -60.0)
        silence = [0] * self.n_inputs
        sent = [*spikes, *[silence] * (self.rest_steps if learning else 0)]
        for t in range(len(sent)):
            # The rest is longer than any delay, so every spike has arrived before the next image.
            arrived = [[sent[t - d][j] if t >= d else 0 for j, d in enumerate(row)] for row in self.delay]
            post = self.step(arrived, learning)
            if t < len(spikes):
                counts = [n + s for n, s in zip(counts, post, strict=True)]
        return counts

    def step(self, arrived, learning):
        post = []
        for i, cell in enumerate(self.excitatory):
            if learning:
                self.theta[i] *= math.exp(-DT / 1e7)
            excitation = sum(w for w, s in zip(self.weight[i], arrived[i], strict=True) if s)
            inhibition = self.w_ie * (sum(self.fired) - self.fired[i])
            threshold = self.theta[i] + self.p["v_threshold"]
            post.append(int(cell.step(excitation, inhibition, threshold, self.p["tau_inhibition"])))
            if post[i] and learning:
                self.theta[i] += self.p["theta_increment"]
        self.fired = [
            int(cell.step(self.p["w_ei"] * s, 0.0, -40.0)) for cell, s in zip(self.inhibitory, post, strict=True)
        ]
        self.n_inhibitory += sum(self.fired)
        if learning:
            for i in range(self.n_exc):
                self.learn(i, arrived[i], post[i])
        return post

    def learn(self, i, arrived, fires):
        d_x, d_y, d_y2 = (math.exp(-DT / tau) for tau in (20.0, 20.0, 40.0))
        self.x[i] = [1.0 if s else x * d_x for x, s in zip(self.x[i], arrived, strict=True)]
        self.y[i] = 1.0 if fires else self.y[i] * d_y
        y2, row, rate = self.y2[i] * d_y2, self.weight[i], self.rule.rate
        for j, s in enumerate(arrived):
            if s:
                row[j] -= rate * self.constants["a_pre"] * self.y[i]
            if fires:
                row[j] += rate * self.constants["a_post"] * self.x[i][j] * y2
            row[j] = min(max(row[j], 0.0), self.constants["w_max"])
        self.y2[i] = 1.0 if fires else y2

    def normalise(self):
        for row in self.weight:
            total = math.fsum(row)
            row[:] = [min(w * self.constants["w_norm"] / total, self.constants["w_max"]) for w in row]
