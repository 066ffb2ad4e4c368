"""A query beside a context of examples of one function: which fusion reads the function's value from the context.

Each column of the context is embedded by itself, without a norm, so that its scale arrives at the fusion. The columns
may then meet in one residual block, a perceptron of each or attention over all, softmax or product. The fusions have
6,640 parameters within 1 %: attention of the query to the columns, with the softmax or with products alone, and
controls that get the mean of the columns.
"""

from hadnas.space import one_of, op

WIDTH = 16
GIVEN = {"dim": WIDTH, "params": 6640}
ADDED = {"norm": None, "merge": op("add")}

QUERY = op(
    "pyramid", stem=op("vector_embedding", dim=WIDTH), stages=[{"dim": WIDTH, "down": None, "blocks": []}], norm=None
)

COLUMNS = one_of(
    [],
    [op("residual", block=op("mlp"), **ADDED)],
    [op("residual", block=op("attention", heads=4), **ADDED)],
    [op("residual", block=op("hydra", normalise=False), **ADDED)],
    name="columns",
)

CONTEXT = op(
    "pyramid",
    stem=op("conv_norm", dim=WIDTH, kernel=1, stride=1, norm=None),
    stages=[{"dim": WIDTH, "down": None, "blocks": COLUMNS}],
    norm=None,
)

FUSION = one_of(
    op("cross_attention", heads=one_of(1, 2, 4), **GIVEN),
    op("linear_cross_attention", heads=one_of(1, 4), norm=one_of("layernorm2d", None), **GIVEN),
    op("linear_sum", **GIVEN),
    op("concat_mlp", **GIVEN),
    op("mlb", **GIVEN),
    name="fusion",
)

SPACE = op("pair", left=QUERY, right=CONTEXT, fusion=FUSION, head=op("pooled_linear"))
