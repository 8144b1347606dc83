"""The datasets: each loads its uint8 images and labels."""

# ruff: noqa: F401  these names are given on

from stdp_run.datasets.arrays import ArrayFile, Arrays
from stdp_run.datasets.base import Dataset, Images, Loaded
from stdp_run.datasets.digits import Digits
from stdp_run.datasets.image_folder import ImageFolder
from stdp_run.datasets.mnist import KMNIST, MNIST, EMNISTDigits, FashionMNIST
from stdp_run.datasets.patches import Patches
