"""The network of Diehl & Cook 2015 with its triplet rule in plain loops, from the specification and from nothing else.

One synapse, one neuron, one step at a time, standard library only; every synapse has a trace of its own, of the spikes
as they arrive at it.
"""

import math

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

    def step(self, excitation, inhibition, threshold):
        """Advance by the conductances that arrive; return whether it fires above `threshold`."""
        self.g_e = self.g_e * math.exp(-DT / 1.0) + excitation
        self.g_i = self.g_i * math.exp(-DT / 2.0) + inhibition
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
    """All of it, as it runs on from image to image."""

    def __init__(self, weight, p, rule, max_delay, seed):
        self.w, self.p, self.rule = [list(row) for row in weight], p, rule
        self.n_exc, self.n_inputs = len(weight), len(weight[0])
        self.delay = [[delay_of(i, j, max_delay, seed) for j in range(self.n_inputs)] for i in range(self.n_exc)]
        self.theta = [p["theta_start"]] * self.n_exc
        self.x = [[0.0] * self.n_inputs for _ in range(self.n_exc)]
        self.y, self.y2 = [0.0] * self.n_exc, [0.0] * self.n_exc
        self.awaken(-105.0, -100.0)

    def awaken(self, start, inhibitory_start):
        """Put all neurons where they start."""
        held, inhibitory_held = self.p["refractory"], self.p["inhibitory_refractory"]
        self.excitatory = [Cell(-65.0, -65.0, start, 100.0, held) for _ in range(self.n_exc)]
        self.inhibitory = [Cell(-60.0, -45.0, inhibitory_start, 10.0, inhibitory_held) for _ in range(self.n_exc)]
        self.fired = [0] * self.n_exc

    def present(self, spikes, rest_steps, learning):
        """Present spikes[T][I], then a rest; return the counts of the T steps."""
        counts = [0] * self.n_exc
        if learning:
            self.normalise()
        else:
            self.awaken(-65.0, -60.0)
        silence = [0] * self.n_inputs
        sent = [*spikes, *[silence] * (rest_steps if learning else 0)]
        for t in range(len(sent)):
            arrived = [
                [sent[t - d][j] if t >= d else 0 for j, d in enumerate(row)] for row in self.delay
            ]  # the rest is longer than any delay: nothing is on its way when an image begins
            post = self.step(arrived, learning)
            if t < len(spikes):
                counts = [n + s for n, s in zip(counts, post, strict=True)]
        return counts

    def step(self, arrived, learning):
        post = []
        for i, cell in enumerate(self.excitatory):
            if learning:
                self.theta[i] *= math.exp(-DT / 1e7)
            excitation = sum(w for w, s in zip(self.w[i], arrived[i], strict=True) if s)
            inhibition = self.p["w_ie"] * (sum(self.fired) - self.fired[i])
            post.append(int(cell.step(excitation, inhibition, self.theta[i] - 20.0 - 52.0)))
            if post[i] and learning:
                self.theta[i] += self.p["theta_increment"]
        self.fired = [
            int(cell.step(self.p["w_ei"] * s, 0.0, -40.0)) for cell, s in zip(self.inhibitory, post, strict=True)
        ]
        if learning:
            for i in range(self.n_exc):
                self.learn(i, arrived[i], post[i])
        return post

    def learn(self, i, arrived, fires):
        d_x, d_y, d_y2 = (math.exp(-DT / tau) for tau in (20.0, 20.0, 40.0))
        self.x[i] = [1.0 if s else x * d_x for x, s in zip(self.x[i], arrived, strict=True)]
        self.y[i] = 1.0 if fires else self.y[i] * d_y
        y2 = self.y2[i] * d_y2
        for j, s in enumerate(arrived):
            if s:
                self.w[i][j] -= self.rule["a_pre"] * self.y[i]
            if fires:
                self.w[i][j] += self.rule["a_post"] * self.x[i][j] * y2
            self.w[i][j] = min(max(self.w[i][j], 0.0), 1.0)
        self.y2[i] = 1.0 if fires else y2

    def normalise(self):
        for row in self.w:
            total = math.fsum(row)
            row[:] = [min(w * self.rule["w_norm"] / total, 1.0) for w in row]
