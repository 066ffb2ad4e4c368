"""Small backbones for your images in a .npz file: accuracy against MACs.

    hadnas search npz_images --data images.npz

The file contains train_images (N, H, W, C) or (N, H, W) as uint8 and train_labels (N,) as integers; test_images and
test_labels are optional. Without --data it reads images.npz in the current folder.

Machine: meant for a GPU; without one use lower --epochs and --trials. Seen on 2 shared CPU cores with 10,000 images of
CIFAR-10 and `--trials 4`: 40 minutes; validation accuracy of the best .6590 (n = 2,000, standard error .011) at 22.4M
MACs and 197k parameters, of the baseline resnet10t .6690 at 22.4M MACs and 4.93M parameters.
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
