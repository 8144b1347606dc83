"""Rows of weights of contenders while an image is shown: taken, kept at their norm, clamped, and brought back.

A contender's weights of the inputs that can spike are stored in `own`, beside those of the other contenders. The dark
ones stay in `weight[I, E]`, with a copy in a row of `dark` that saves reading a column at the end of the image; where
very many neurons are contenders, as at the start, only the first of them have one. The true weights are what is stored
times `scale`, so that normalising is one multiplication a row.

A row that the clamp at w_max cuts loses the norm again, and must be scaled at every further step until it has it
back: `near` lists the dark inputs whose weights are close to w_max, the peaks bound all weights, so that they are
looked at only where one is too high, and `unsettled` marks rows that have not reached their norm.
"""

import numpy as np

from stdp_run.elementwise import BLOCK, maximum, minimum, where

NEVER, LAST_STEP, EVERY_STEP = range(3)
NEAR_LIMIT = 128
NEAR_SHARE = 0.9
SCALE_LIMIT = 1024.0
KEPT_ROWS = 64


# ------------------------------------------------------------------------------------------------------------------
# Neurons become contenders.


def join(p, memory, weight, active, n_active, neurons, n_neurons, n_contenders):
    """Make neurons contenders, behind those that there are: take their weights."""
    for f in range(n_neurons):
        lane = n_contenders + f
        if lane % BLOCK == 0:
            open_block(memory, n_active, lane)
        take_row(p, memory, weight, active, n_active, neurons[f], lane)


def open_block(memory, n_active, lane):
    """Make place for a block of contenders, from `lane` on: weights of 0 until they are there."""
    first = place_of(memory, lane, 0)
    memory.own[first : first + n_active * BLOCK] = 0
    for r in range(lane, lane + BLOCK):
        memory.scale[r] = 1
        memory.y[r] = 0
        memory.n_near[r] = 0
        memory.own_peak[r] = 0
        memory.dark_peak[r] = 0
        memory.near_peak[r] = 0
        memory.own_total[r] = 0
        memory.dark_total[r] = 0
        memory.restless[r] = 0
        memory.changed[r] = 0


def place_of(memory, lane, k):
    """Return where in `own` the weight of contender `lane` from the k-th input that can spike lies."""
    return ((lane // BLOCK) * memory.x.shape[0] + k) * BLOCK + lane % BLOCK


def take_row(p, memory, weight, active, n_active, i, lane):
    """Take the weights of neuron i as those of the contender `lane`."""
    own, row = memory.own, memory.dark[place_of_row(memory, lane)]
    for j in range(weight.shape[0]):
        row[j] = weight[j, i]
    own_total = 0.0
    peak = row[0] * 0
    at = place_of(memory, lane, 0)
    for k in range(n_active):
        w = row[active[k]]
        own[at + k * BLOCK] = w
        row[active[k]] = 0
        own_total += w
        peak = max(peak, w)
    memory.own_total[lane] = own_total
    memory.own_peak[lane] = peak
    memory.dark_total[lane] = add_up(row, memory.sums)
    memory.restless[lane] = memory.unsettled[i]
    list_near(p, memory, row, lane)


def place_of_row(memory, lane):
    """Return which row of `dark` is that of contender `lane`: the last is shared by all for which there is none."""
    return min(lane, memory.dark.shape[0] - 1)


def find_row(memory, weight, active, n_active, i, lane):
    """Return which row of `dark` has the dark weights of a contender; fill the shared row with them."""
    place = place_of_row(memory, lane)
    if lane >= memory.dark.shape[0] - 1:
        row = memory.dark[place]
        for j in range(weight.shape[0]):
            row[j] = weight[j, i]
        for k in range(n_active):
            row[active[k]] = 0
    return place


def add_up(row, sums):
    """Return the sum of a row, lane by lane."""
    lanes = sums.shape[0]
    total = vectors.load(row, 0, row) + vectors.zeros(sums, row)
    for j in range(lanes, row.shape[0], lanes):
        total = total + vectors.load(row, j, row)
    vectors.store(sums, 0, total)
    whole = 0.0
    for r in range(lanes):
        whole += sums[r]
    return whole


def list_near(p, memory, dark, lane):
    """Find, in a row of dark weights, those near w_max, their peak, and that of all others."""
    lanes = memory.sums.shape[0]
    threshold = p.w_max * NEAR_SHARE / memory.scale[lane]
    peaks = vectors.zeros(dark, dark)
    for j in range(0, dark.shape[0], lanes):
        peaks = maximum(vectors.load(dark, j, dark), peaks)
    vectors.store(memory.sums, 0, peaks)
    peak = dark[0] * 0
    for r in range(lanes):
        peak = max(peak, dark[0] * 0 + memory.sums[r])
    n_near = 0
    memory.near_peak[lane] = 0
    if peak > threshold:
        memory.near_peak[lane] = peak
        peak -= peak
        for j in range(dark.shape[0]):
            w = dark[j]
            if w > threshold:
                if n_near < NEAR_LIMIT:
                    memory.near[lane, n_near] = j
                n_near += 1
            else:
                peak = max(peak, w)
    memory.dark_peak[lane] = peak
    memory.n_near[lane] = n_near


# ------------------------------------------------------------------------------------------------------------------
# The norm and the clamp.


def scale_rows(p, memory, weight, active, n_active, neuron_of, at, unrest, scale, own_total, cut, own_peak):
    """Scale restless rows to their norm, as the reference does before it clamps, then clamp them to w_max.

    `cut` is the sum of the |w| that this step's changes left below 0.
    """
    norm = (own_total + vectors.block(memory.dark_total, at)) * scale + cut
    scale = vectors.rounded(where(unrest & (norm != 0), scale * (p.w_norm / norm), scale), memory.scale)
    vectors.store(memory.scale, at, scale)
    vectors.store(memory.restless, at, where(unrest, 0, vectors.block(memory.restless, at)))
    vectors.store(memory.changed, at, where(unrest, 1, vectors.block(memory.changed, at)))
    unrest = unrest & (norm != 0)
    too_high = unrest & (own_peak * scale > p.w_max)
    if vectors.lanes_where(too_high):
        clamp_own(p, memory, at, n_active, scale, too_high)
    is_far = (scale > SCALE_LIMIT) | (scale * SCALE_LIMIT < 1)
    peak = maximum(vectors.block(memory.dark_peak, at), vectors.block(memory.near_peak, at))
    look_at = vectors.lanes_where(unrest & ((peak * scale > p.w_max) | is_far))
    lane = at
    while look_at:
        if look_at & np.uint64(1):
            clamp_row(p, memory, weight, active, n_active, neuron_of[lane], lane)
        lane += 1
        look_at >>= np.uint64(1)


def clamp_own(p, memory, at, n_active, scale, too_high):
    """Clamp the weights in `own` to w_max. A row that this cuts is restless: the next step scales it again."""
    own = memory.own
    first = at * memory.x.shape[0]
    highest = where(too_high, p.w_max / scale, np.inf)
    cut = vectors.zero_block(own)
    for k in range(n_active):
        before = vectors.block(own, first + k * BLOCK)
        w = minimum(before, highest)
        vectors.store(own, first + k * BLOCK, w)
        cut = cut + (before - w)
    own_total = vectors.block(memory.own_total, at)
    is_cut = cut > memory.tolerance[0] * (own_total + vectors.block(memory.dark_total, at))
    vectors.store(memory.own_total, at, own_total - cut)
    vectors.store(memory.own_peak, at, minimum(vectors.block(memory.own_peak, at), highest))
    vectors.store(memory.restless, at, where(is_cut, 1, vectors.block(memory.restless, at)))


def clamp_row(p, memory, weight, active, n_active, i, lane):
    """Clamp the dark weights of a row to w_max, which may make it restless; keep its scale near 1."""
    scale = memory.scale[lane]
    before = memory.own_total[lane] + memory.dark_total[lane]
    if memory.dark_peak[lane] * scale > p.w_max:
        list_near(p, memory, memory.dark[find_row(memory, weight, active, n_active, i, lane)], lane)
    peak = scale * 0
    if memory.n_near[lane] > NEAR_LIMIT:
        row = memory.dark[find_row(memory, weight, active, n_active, i, lane)]
        for j in range(weight.shape[0]):
            if row[j] != 0:
                peak = max(peak, clamp_dark(p, memory, weight, i, j, lane))
    else:
        for k in range(memory.n_near[lane]):
            peak = max(peak, clamp_dark(p, memory, weight, i, memory.near[lane, k], lane))
    memory.near_peak[lane] = peak
    after = memory.own_total[lane] + memory.dark_total[lane]
    memory.restless[lane] |= abs(after - before) > memory.tolerance[0] * before
    if scale > SCALE_LIMIT or scale * SCALE_LIMIT < 1:
        is_restless = memory.restless[lane]
        fold_row(p, memory, weight, active, n_active, i, lane)
        take_row(p, memory, weight, active, n_active, i, lane)
        memory.restless[lane] = is_restless


def clamp_dark(p, memory, weight, i, j, lane):
    """Lower the stored weight of the dark input j to what w_max allows; return what it is then."""
    before = weight[j, i]
    if before * memory.scale[lane] > p.w_max:
        weight[j, i] = p.w_max / memory.scale[lane]
        memory.dark[place_of_row(memory, lane), j] = weight[j, i]
        memory.dark_total[lane] += np.float64(weight[j, i]) - np.float64(before)
    return weight[j, i]


# ------------------------------------------------------------------------------------------------------------------
# The end of an image.


def leave(p, memory, weight, active, n_active, neuron_of, n_contenders):
    """End an image for the contenders: fold the rows that changed, and mark those that still miss their norm."""
    for lane in range(n_contenders):
        if memory.changed[lane]:
            i = neuron_of[lane]
            total = fold_row(p, memory, weight, active, n_active, i, lane)
            misses = abs(total - p.w_norm) > memory.tolerance[0] * p.w_norm
            unsettled = memory.normalise[0] != NEVER and total > 0 and misses
            memory.n_unsettled[0] += np.int64(unsettled) - np.int64(memory.unsettled[i])
            memory.unsettled[i] = unsettled


def fold_row(p, memory, weight, active, n_active, i, lane):
    """Bring the true weights of a row back into `weight`; return their sum."""
    row = memory.dark[find_row(memory, weight, active, n_active, i, lane)]
    lanes = memory.sums.shape[0]
    scale = memory.scale[lane]
    at = place_of(memory, lane, 0)
    for k in range(n_active):
        row[active[k]] = memory.own[at + k * BLOCK]
    # What was clamped to w_max / scale is w_max but for rounding, and is to be w_max.
    nearly = p.w_max * (1 - 0.02 * memory.tolerance[0])
    for j in range(0, row.shape[0], lanes):
        w = vectors.load(row, j, row) * scale
        vectors.store(row, j, where(w > nearly, p.w_max, w))
    for j in range(weight.shape[0]):
        weight[j, i] = row[j]
    memory.scale[lane] = 1
    return add_up(row, memory.sums)


ROW_FUNCTIONS = (
    place_of,
    place_of_row,
    find_row,
    open_block,
    add_up,
    list_near,
    take_row,
    join,
    clamp_dark,
    fold_row,
    clamp_own,
    clamp_row,
    scale_rows,
    leave,
)
RARE = ("join", "clamp_row", "leave", "open_block", "add_up", "list_near", "take_row", "fold_row")
