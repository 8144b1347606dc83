"""Combines the weight changes of a batch of images, which all see the same weights, to one change."""

from stdp_run.elementwise import Tensor

REDUCTIONS = ("sum", "mean", "max")


class Reduction:
    """Combines the weight changes of a batch: "sum", "mean", or "max", the largest rise plus the largest fall."""

    def __init__(self, name: str):
        assert name in REDUCTIONS, name
        self.name = name

    def __call__(self, changes: Tensor) -> Tensor:
        """Return one change [E, I] for `changes` [B, E, I]; the mean of integers is rounded down."""
        if len(changes) == 1:
            return changes[0]
        if self.name == "max":
            return changes.amax(dim=0).clamp(min=0) + changes.amin(dim=0).clamp(max=0)
        total = changes.sum(dim=0, dtype=changes.dtype)
        if self.name == "sum":
            return total
        return total / len(changes) if total.is_floating_point() else total // len(changes)

    def outer(self, post: Tensor, pre: Tensor) -> Tensor:
        """Return the sum or mean of the float changes post[B, E] x pre[B, I] without a tensor [B, E, I]."""
        if len(post) == 1:
            return post[0][:, None] * pre[0]
        total = post.T @ pre
        return total / len(post) if self.name == "mean" else total
