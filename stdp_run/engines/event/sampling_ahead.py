"""A second thread samples the spikes of the next images while the network learns from the ones before.

Spikes are a function of seed, image and presentation, so that who samples them, and when, changes nothing.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from stdp_run.engines.event.jit import Kernel
from stdp_run.engines.event.presentation import Images, Presentation, sample_ahead
from stdp_run.engines.event.spike_sampling import SpikeTrain, make_trains

# Handing over takes time, and so does waiting for the first ones of every call: 10 and 50 were no faster than this.
IMAGES_AT_ONCE = 25

_kernel = cache(lambda: Kernel(sample_ahead))


class SamplingAhead:
    """A thread, and memory for the spikes of two times `IMAGES_AT_ONCE` images: one is read, the other written."""

    def __init__(self, n_steps: int, no_images: Images, presentation: Presentation):
        n_inputs = no_images.pixels.shape[1]
        self._trains = [make_trains(IMAGES_AT_ONCE, n_steps, n_inputs) for _ in range(2)]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sampling")
        self._thread.submit(_kernel().compile, no_images, presentation, self._trains[0])

    def sampled(
        self, images: Callable[[slice], Images], n_images: int, presentation: Presentation
    ) -> Iterator[tuple[Images, SpikeTrain]]:
        """Yield some images after the other with their spikes, which are valid until the next ones are asked for."""

        def sample(first: int, trains: SpikeTrain) -> Images:
            part = images(slice(first, first + IMAGES_AT_ONCE))
            _kernel()(part, presentation, trains)
            return part

        waiting = self._thread.submit(sample, 0, self._trains[0])
        for first in range(0, n_images, IMAGES_AT_ONCE):
            part, trains = waiting.result(), self._trains[0]
            self._trains.reverse()
            if first + IMAGES_AT_ONCE < n_images:
                waiting = self._thread.submit(sample, first + IMAGES_AT_ONCE, self._trains[0])
            yield part, trains
