"""K networks stacked: each operation of a step is done for all of them at once (torch.vmap), one image each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stdp_run.engines.base import Request, TrainingBatch
from stdp_run.engines.dense.engine import INFERENCE_BATCH, pad_batch
from stdp_run.engines.dense.presentation import Persistent, Presentation, PresentationSpec, SingleNetwork
from stdp_run.network import Model, NetworkState
from stdp_run.parameters import cast


class StackedModels(SingleNetwork):
    """K models of equal shapes that differ in their seed, or in constants of rule or neuron group."""

    def __init__(self, models: Sequence[Model], device: torch.device):
        super().__init__(models[0])
        self.lead = (len(models),)
        self.seed = torch.tensor([model.seed for model in models], device=device)
        self._varied = {
            part: self._differing([getattr(model, part) for model in models], device)
            for part in ("rule_parameters", "neuron_parameters")
        }

    def _differing(self, parameters: list[Any], device: torch.device) -> dict[str, Tensor]:
        """Return the constants that are not the same in all, [K], each in the type that it has as a number."""
        typed = cast(parameters[0], self.model.weight_dtype.type)
        columns = zip(typed._fields, typed, zip(*parameters, strict=True), strict=True)
        return {
            name: torch.from_numpy(np.array(values, number.dtype)).to(device)
            for name, number, values in columns
            if len(set(values)) > 1
        }

    def over(self, function: Callable) -> Callable:
        """See `SingleNetwork.over`."""

        def for_one(seed: Any, varied: dict[str, dict[str, Tensor]], *tensors: Any) -> Any:
            changed: dict[str, Any] = {part: getattr(self.model, part)._replace(**new) for part, new in varied.items()}
            return function(replace(self.model, **changed, seed=seed), *tensors)

        mapped = torch.vmap(for_one)
        return lambda *tensors: mapped(self.seed, self._varied, *tensors)


class StackedNetworks:
    """K networks whose steps are one operation for all (stdp_run.engines.base.NetworkGroup).

    What a network comes to depends on no other, but operations on all of them may add in another order than those on
    one: in float32, a network alone differs by rounding. All K are presented images in every call, so that shapes, and
    with them the order, stay; those that are not asked get black ones, and are put back.
    """

    name = "torch"

    def __init__(self, models: Sequence[Model], states: Sequence[NetworkState], device: str = "cpu"):
        obstacle = obstacle_to_stacking(models)
        if obstacle:
            raise ValueError(obstacle)
        self.models: Sequence[Model] = list(models)
        place = torch.device(device)
        arrays = {name: np.stack([state.arrays()[name] for state in states]) for name in states[0].arrays()}
        stacked = NetworkState(arrays.pop("weight"), arrays.pop("theta"), arrays)
        self._persistent = Persistent.of(stacked, models[0], place)
        self._stacked_models = StackedModels(models, place)
        self._inference_batch = max(1, INFERENCE_BATCH[place.type] // len(models))

    @cached_property
    def _learning(self) -> Presentation:
        limited = any(model.max_learners is not None for model in self.models)
        return Presentation(self._stacked_models, self._persistent, PresentationSpec(1, True, limited))

    @cached_property
    def _inference(self) -> Presentation:
        return Presentation(self._stacked_models, self._persistent, PresentationSpec(self._inference_batch, False))

    def state(self, k: int) -> NetworkState:
        """See `NetworkGroup.state`."""
        return self._persistent.state((k,))

    def answer(self, requests: Mapping[int, Request]) -> dict[int, np.ndarray]:
        """See `NetworkGroup.answer`; training requests come first, and of others at most a batch is answered."""
        training = {k: request for k, request in requests.items() if isinstance(request, TrainingBatch)}
        return self._learn(training) if training else self._count_spikes(requests)

    def _learn(self, requests: Mapping[int, TrainingBatch]) -> dict[int, np.ndarray]:
        first, n_networks = self.models[0], len(self.models)
        n_images = min(len(request.pixels) for request in requests.values())
        limits = np.zeros((n_images, n_networks, 1, first.n_inputs), np.int64)
        index = np.zeros((n_images, n_networks, 1), np.int64)
        epoch = np.zeros(n_networks, np.int64)
        rate, learners = np.zeros((2, n_images, n_networks))
        for k, request in requests.items():
            model = self.models[k]
            limits[:, k, 0] = model.encoder.limits(request.pixels[:n_images])
            index[:, k, 0] = request.image_index[:n_images]
            epoch[k] = request.epoch
            rate[:, k] = request.rate[:n_images]
            limit = model.max_learners if request.max_learners is None else request.max_learners[:n_images]
            learners[:, k] = model.n_exc if limit is None else limit
        others = [k for k in range(n_networks) if k not in requests]
        weight, theta, kept = self._persistent
        put_back = [(tensor, tensor[others].clone()) for tensor in (weight, theta, *kept.values()) if others]
        counts = [self._learning.present(limits[n], index[n], epoch, rate[n], learners[n]) for n in range(n_images)]
        for tensor, before in put_back:
            tensor[others] = before
        return {k: np.concatenate([each[k] for each in counts]) for k in requests}

    def _count_spikes(self, requests: Mapping[int, Request]) -> dict[int, np.ndarray]:
        first, batch = self.models[0], self._inference_batch
        n_images = min(batch, *(len(request.pixels) for request in requests.values()))
        limits = np.zeros((len(self.models), batch, first.n_inputs), np.int64)
        index = np.zeros((len(self.models), batch), np.int64)
        for k, request in requests.items():
            pixels, index[k] = pad_batch(request.pixels[:n_images], request.image_index[:n_images], batch)
            limits[k] = self.models[k].inference_encoder.limits(pixels)
        counts = self._inference.present(limits, index, 0)
        for presentation in range(1, first.n_presentations):
            counts += self._inference.present(limits, index, presentation)
        return {k: counts[k, :n_images] for k in requests}


def obstacle_to_stacking(models: Sequence[Model]) -> str | None:
    """Return why networks cannot be stacked; None: they can."""
    if models[0].runs_on:
        return "each runs on from image to image"
    if any(encoder.max_presentations > 1 for model in models for encoder in (model.encoder, model.inference_encoder)):
        return "encoder.min_spikes: networks would present an image again at different times"
    if len({getattr(model.rule_parameters, "normalise", None) for model in models}) > 1:
        return "rule.normalise: networks would scale their weights at different times"
    return None
