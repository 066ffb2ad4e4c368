"""Small backbones for your images in a .npz file: accuracy against MACs.

    hadnas search npz_images --data images.npz

The file holds train_images (N, H, W, C) or (N, H, W) as uint8 and train_labels (N,) as integers, and if there are any
test_images and test_labels. Without --data it looks for images.npz here.

Machine: 2 CPU cores, no GPU: a GPU is meant, and --epochs and --trials for less. Seen on 10,000 images of CIFAR-10
with `--trials 4` on two cores that others used, too: 40 minutes, the best of 4 .6590 of n = 2,000 validation images
(standard error .011) at 22.4M MACs and 197k parameters, the baseline resnet10t .6690 at 22.4M MACs and 4.93M.
"""

from hadnas.search_spaces.four_families import SPACE
from hadnas.store.study import Study
from hadnas.train.recipe import Recipe

STUDY = Study(
    space=SPACE,
    data="images.npz",
    recipe=Recipe(epochs=10, batch=128, lr=3e-3, augment="shift_flip"),
    objectives=("val/accuracy", "macs"),
    trials=20,
    seed=0,
    baselines={"timm_resnet": "resnet10t"},
)
