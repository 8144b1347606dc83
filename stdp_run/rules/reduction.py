"""One weight change for a batch of images, which all see the same weights."""

from stdp_run.elementwise import Tensor

REDUCTIONS = ("sum", "mean", "max")


class Reduction:
    """Makes of the weight changes of a batch of images one change.

    "sum" adds them, "mean" averages them, "max" takes the largest rise and the deepest fall and adds these two.
    """

    def __init__(self, name: str):
        self.name = name
        self._reduce = {"sum": _sum, "mean": _mean, "max": _extremes}[name]

    def __call__(self, changes: Tensor) -> Tensor:
        """Return the one change [E, I] for `changes` [B, E, I]."""
        return changes[0] if len(changes) == 1 else self._reduce(changes)

    @property
    def adds(self) -> bool:
        """Whether the one change is a sum over images, up to a factor, so that `outer` can be had as a product."""
        return self.name in ("sum", "mean")

    def outer(self, post: Tensor, pre: Tensor) -> Tensor:
        """Return what becomes of the changes post[B, E] x pre[B, I], floats, without a tensor of all of them."""
        if len(post) == 1:
            return post[0][:, None] * pre[0]
        total = post.T @ pre
        return total / len(post) if self.name == "mean" else total


def _sum(changes: Tensor) -> Tensor:
    return changes.sum(dim=0, dtype=changes.dtype)


def _mean(changes: Tensor) -> Tensor:
    total = _sum(changes)
    return total / len(changes) if changes.dtype.is_floating_point else total.div(len(changes), rounding_mode="floor")


def _extremes(changes: Tensor) -> Tensor:
    return changes.amax(dim=0).clamp(min=0) + changes.amin(dim=0).clamp(max=0)
