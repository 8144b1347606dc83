"""The datasets: each loads its uint8 images and labels, verified where a checksum is known.

Adding one: a class with `load() -> Loaded`, and a YAML dataset/NAME.yaml whose `_target_` is its import path; the other
keys of the YAML are the keywords that the class takes.
"""

from stdp_run.datasets.base import Dataset, Images, Loaded
from stdp_run.datasets.digits import Digits
from stdp_run.datasets.image_folder import ImageFolder
from stdp_run.datasets.mnist import KMNIST, MNIST, EMNISTDigits, FashionMNIST
from stdp_run.datasets.patches import Patches

__all__ = [
    "KMNIST",
    "MNIST",
    "Dataset",
    "Digits",
    "EMNISTDigits",
    "FashionMNIST",
    "ImageFolder",
    "Images",
    "Loaded",
    "Patches",
]
