"""Which fusion of an image and a question answers it?

    hadnas search fusion_vqa --data easyvqa.npz

The file has `train_images`, `train_image_index`, `train_tokens`, `train_labels`, `vocab` and `class_names` (docs/
two_inputs.md); others have the same arrays. Machine: 2 CPU cores, no GPU; 4 minutes, by the time of 2 of the 12 trials.
Expected on easy-VQA (38,575 questions on 4,000 images of 64 x 64, 13 answers) of three seeds on one thread after two
epochs, with the encoders of one draw, by `tests/bench/fusions.py train fusion_vqa OUT.csv --data FILE --products`, then
`table OUT.csv`: validation accuracy, n = 7,716 questions on other images, fusions of 24,000 parameters; 95 % intervals
count seeds and questions; the difference is from concat_mlp, the better control, and paired by both.

    concat_mlp             0.811 (0.802 to 0.820)
    gated_fusion           0.806 (0.794 to 0.817)   -0.005 (-0.024 to +0.013)
    linear_sum             0.804 (0.784 to 0.822)   -0.007 (-0.041 to +0.026)
    poly2 of degree 2      0.803 (0.787 to 0.818)   -0.008 (-0.026 to +0.010)
    mlb                    0.801 (0.783 to 0.817)   -0.010 (-0.040 to +0.020)
    mutan                  0.798 (0.788 to 0.806)   -0.014 (-0.017 to -0.011)
    poly2 of degree 3      0.796 (0.786 to 0.805)   -0.015 (-0.020 to -0.011)
    poly2 of degree 4      0.794 (0.785 to 0.803)   -0.017 (-0.021 to -0.013)
    spatial_conditioning   0.793 (0.784 to 0.802)   -0.018 (-0.022 to -0.015)
    film                   0.793 (0.784 to 0.802)   -0.018 (-0.025 to -0.012)
    cross_attention        0.787 (0.778 to 0.796)   -0.024 (-0.033 to -0.014)
    block_fusion           0.787 (0.778 to 0.796)   -0.024 (-0.034 to -0.014)
    mfb                    0.770 (0.753 to 0.786)   -0.041 (-0.055 to -0.028)

After two epochs no product is ahead of a control, and the additive control, linear_sum, is behind concat_mlp by no more
than the noise. Longer trainings were not compared.
"""

from hadnas.search_spaces.image_and_question import SPACE
from hadnas.store.study import Study
from hadnas.train.data.spec import DataSpec
from hadnas.train.recipe import Recipe

STUDY = Study(
    space=SPACE,
    data=DataSpec(source="easyvqa.npz", inputs=("images", "tokens")),
    recipe=Recipe(epochs=2, batch=256, lr=4e-3),
    objectives=("val/accuracy",),
    sampler="random",
    trials=12,
    latency=None,
    seed=0,
)
