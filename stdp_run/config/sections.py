"""The sections of a config, each named after its key.

A field has a check, or is a section, or takes all keys that the section's other fields do not name.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stdp_run.config.checks import one_of, or_null, text
from stdp_run.evaluation.readouts import READOUTS
from stdp_run.parameters import Check, non_negative, positive, whole_non_negative, whole_positive

SCHEDULES = ("constant", "exponential", "cosine")
ORDERS = ("shuffled", "as_stored", "by_class")  # in which images are presented


def checked(check: Callable) -> Any:
    """Return a field of a section, whose value a check of `checks` lets pass or not."""
    return field(metadata={"check": check})


@dataclass(frozen=True)
class EncoderSettings:
    max_rate_hz: float = checked(non_negative)
    steps: int = checked(whole_positive)
    dt: float = checked(positive)
    gamma: float = checked(positive)
    mean_pixel: float | None = checked(or_null(Check("a number above 0 and up to 255", above=0.0, maximum=255.0)))
    min_spikes: int = checked(whole_non_negative)
    rate_step_hz: float = checked(non_negative)
    max_repeats: int = checked(Check("a whole number from 0 to 255", whole=True, minimum=0, maximum=255))
    rest_steps: int = checked(whole_non_negative)


@dataclass(frozen=True)
class TrainerSettings:
    schedule: str = checked(one_of(*SCHEDULES))
    rate_end: float = checked(Check("a number above 0 and up to 1", above=0.0, maximum=1.0))
    k_winners_start: int | None = checked(or_null(whole_positive))
    order: str = checked(one_of(*ORDERS))
    log_every: int = checked(whole_positive)
    label_window: int = checked(whole_positive)
    evaluate_every: int | None = checked(or_null(whole_positive))
    plot_every: int | None = checked(or_null(whole_positive))
    checkpoint_every: int | None = checked(or_null(whole_positive))
    checkpoint_seconds: float | None = checked(or_null(positive))


@dataclass(frozen=True)
class EvaluatorSettings:
    readout: str = checked(one_of(*READOUTS))
    n_presentations: int = checked(whole_positive)
    steps: int | None = checked(or_null(whole_positive))


@dataclass(frozen=True)
class PredictSettings:
    images: str | None = checked(or_null(text))
    csv: str | None = checked(or_null(text))


@dataclass(frozen=True)
class ExportSettings:
    to: str | None = checked(or_null(text))


@dataclass(frozen=True)
class CompareSettings:
    dir: str | None = checked(or_null(text))


@dataclass(frozen=True)
class PartSettings:
    """The section `rule`, `neuron` or `perturbation`. Its class declares what its constants may be.

    They are checked when the part is built.
    """

    constants: dict[str, Any]
    name: str = checked(text)
    target: str = checked(text)  # `_target_` in the YAML, the import path of the class


@dataclass(frozen=True)
class DatasetSettings:
    """The section `dataset`. Its options are checked when the data set is built, by what its class takes."""

    options: dict[str, Any]
    name: str = checked(text)
    target: str = checked(text)  # `_target_` in the YAML, the import path of the class
    height: int = checked(whole_positive)
    width: int = checked(whole_positive)
    split: str = checked(one_of("test", "validation", "train"))
    n_validation: int = checked(whole_positive)

    @property
    def n_inputs(self) -> int:
        """One input for each pixel."""
        return self.height * self.width
