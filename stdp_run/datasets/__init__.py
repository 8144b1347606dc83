"""The data sets: each loads its uint8 images and labels, verified where a checksum is known.

Adding one: a class with `load() -> Loaded`, and a YAML in conf/dataset/ whose `_target_` is its import path.
"""

from stdp_run.datasets.base import Dataset, Images, Loaded
from stdp_run.datasets.digits import Digits
from stdp_run.datasets.image_folder import ImageFolder
from stdp_run.datasets.mnist_family import KMNIST, MNIST, EMNISTDigits, FashionMNIST

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
]
