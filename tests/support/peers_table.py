"""Names that other libraries have for the functions of the catalogue, and functions that it lacks."""

from __future__ import annotations

import functools
import inspect
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Those that `NOT_OURS` was written for.
VERSIONS = {"torch": "2.13.0", "jax": "0.10.2", "keras": "3.15.1", "scipy": "1.17.1", "onnx": "1.23.2"}

# Hyperparameters to try besides the defaults.
_VALUES: dict[str, list[dict[str, Any]]] = {
    "celu": [{"alpha": 0.5}],
    "elu": [{"alpha": 0.5}],
    "gelu": [{"approximate": "none"}, {"approximate": "tanh"}],
    "hard_shrink": [{"lambd": 1.0}],
    "hard_tanh": [{"min_val": -3.0, "max_val": 0.5}],
    "leaky_relu": [{"negative_slope": 0.01}, {"negative_slope": 0.25}],
    "prelu": [{"alpha": 0.25}, {"alpha": -2.0}],
    "soft_shrink": [{"lambd": 1.0}],
    "softplus": [{"beta": 0.5}, {"beta": 3.0}],
    "squareplus": [{"b": 0.5}],
    "threshold": [{"threshold": 0.5, "value": -1.0}, {"threshold": 0.0, "value": 0.0}],
}
_AXES = [{"axis": -1}, {"axis": 0}]
_SEVERAL = [*_AXES, {"axis": (0, 1)}, {"axis": None}]


@dataclass(frozen=True, eq=False)
class Twin:
    """A function of ours and what should compute the same."""

    peer: str
    ours: str
    theirs: str  # where it stands in the package; for ONNX the body of a graph from x to y
    keywords: Mapping[str, Any] = field(default_factory=dict)  # of ours
    names: Mapping[str, str] = field(default_factory=dict)  # what the peer calls those that it takes
    composed: Callable[..., Any] | None = None  # of the package and x, where theirs is not called as usual

    @property
    def dtypes(self) -> tuple[str, ...]:
        only = self.peer == "keras" or not _FLOAT32_ONLY.isdisjoint(re.findall(r"\w+", self.theirs))
        return ("float32",) if only else ("float32", "float64")

    def __repr__(self) -> str:
        given = ",".join(f"{key}={value}" for key, value in self.keywords.items())
        return f"{self.ours}({given}) by {self.peer} {self.theirs}"


# Ours, and what it is called there. In brackets are the hyperparameters that it takes too, with its own name for one
# first ("dim=axis"), and a star if it takes several axes; an exclamation mark: there is no default.
_NAMES = {
    "torch": """
        sigmoid      sigmoid nn.functional.sigmoid
        expit        special.expit
        log_sigmoid  nn.functional.logsigmoid
        logit        logit special.logit
        tanh         tanh nn.functional.tanh
        softsign     nn.functional.softsign
        hard_sigmoid nn.functional.hardsigmoid
        hard_tanh    nn.functional.hardtanh(min_val,max_val)
        relu         relu nn.functional.relu
        relu6        nn.functional.relu6
        leaky_relu   nn.functional.leaky_relu(negative_slope)
        elu          nn.functional.elu(alpha)
        celu         nn.functional.celu(alpha)
        selu         nn.functional.selu
        threshold    nn.functional.threshold(threshold,value)!
        softplus     nn.functional.softplus(beta)
        silu         nn.functional.silu
        hard_silu    nn.functional.hardswish
        mish         nn.functional.mish
        gelu         nn.functional.gelu(approximate)
        hard_shrink  nn.functional.hardshrink(lambd)
        soft_shrink  nn.functional.softshrink(lambd)
        tanh_shrink  nn.functional.tanhshrink
        identity     clone
        softmax      softmax(dim=axis)! special.softmax(dim=axis)! nn.functional.softmax(dim=axis)!
        log_softmax  log_softmax(dim=axis)! special.log_softmax(dim=axis)! nn.functional.log_softmax(dim=axis)!
        softmin      nn.functional.softmin(dim=axis)!
        logsumexp    logsumexp(dim=axis)! special.logsumexp(dim=axis)!
        glu          nn.functional.glu(dim=axis)
        """,
    "jax": """
        sigmoid        nn.sigmoid
        expit          scipy.special.expit
        log_sigmoid    nn.log_sigmoid
        logit          scipy.special.logit
        tanh           nn.tanh numpy.tanh
        softsign       nn.soft_sign
        hard_sigmoid   nn.hard_sigmoid
        hard_tanh      nn.hard_tanh
        relu           nn.relu
        relu6          nn.relu6
        leaky_relu     nn.leaky_relu(negative_slope)
        prelu          nn.leaky_relu(negative_slope=alpha)!
        elu            nn.elu(alpha)
        celu           nn.celu(alpha)
        selu           nn.selu
        softplus       nn.softplus
        squareplus     nn.squareplus(b)
        sparse_plus    nn.sparse_plus
        sparse_sigmoid nn.sparse_sigmoid
        silu           nn.silu
        swish          nn.swish
        hard_silu      nn.hard_silu
        hard_swish     nn.hard_swish
        mish           nn.mish
        gelu           nn.gelu(approximate)
        identity       nn.identity
        softmax        nn.softmax(axis*) scipy.special.softmax(axis*)
        log_softmax    nn.log_softmax(axis*) scipy.special.log_softmax(axis*)
        logsumexp      nn.logsumexp(axis*) scipy.special.logsumexp(axis*)
        glu            nn.glu(axis)
        """,
    "keras": """
        sigmoid        activations.sigmoid ops.sigmoid
        log_sigmoid    activations.log_sigmoid ops.log_sigmoid
        tanh           activations.tanh ops.tanh
        softsign       activations.softsign ops.softsign
        hard_sigmoid   activations.hard_sigmoid ops.hard_sigmoid
        hard_tanh      activations.hard_tanh ops.hard_tanh
        relu           activations.relu ops.relu
        relu6          activations.relu6 ops.relu6
        leaky_relu     activations.leaky_relu(negative_slope) ops.leaky_relu(negative_slope)
        elu            activations.elu(alpha) ops.elu(alpha)
        celu           activations.celu(alpha) ops.celu(alpha)
        selu           activations.selu ops.selu
        threshold      activations.threshold(threshold,default_value=value)!
        threshold      ops.threshold(threshold,default_value=value)!
        softplus       activations.softplus ops.softplus
        squareplus     activations.squareplus(b) ops.squareplus(b)
        sparse_plus    activations.sparse_plus ops.sparse_plus
        sparse_sigmoid activations.sparse_sigmoid ops.sparse_sigmoid
        silu           activations.silu ops.silu
        swish          activations.swish ops.swish
        hard_silu      activations.hard_silu ops.hard_silu
        hard_swish     activations.hard_swish ops.hard_swish
        mish           activations.mish
        gelu           activations.gelu(approximate) ops.gelu(approximate)
        hard_shrink    activations.hard_shrink(threshold=lambd) ops.hard_shrink(threshold=lambd)
        soft_shrink    activations.soft_shrink(threshold=lambd) ops.soft_shrink(threshold=lambd)
        tanh_shrink    activations.tanh_shrink ops.tanh_shrink
        identity       activations.linear
        softmax        activations.softmax(axis*) ops.softmax(axis*)
        log_softmax    activations.log_softmax(axis*) ops.log_softmax(axis*)
        logsumexp      ops.logsumexp(axis*)
        sparsemax      activations.sparsemax(axis) ops.sparsemax(axis)
        glu            activations.glu(axis) ops.glu(axis)
        """,
    "scipy": """
        expit       special.expit
        log_expit   special.log_expit
        logit       special.logit
        softplus    special.softplus
        softmax     special.softmax(axis*)
        log_softmax special.log_softmax(axis*)
        logsumexp   special.logsumexp(axis*)
        """,
}


def _sparsemax(torch: Any, x: Any) -> Any:
    x = x - x.amax(-1, keepdim=True)
    ordered = x.sort(descending=True).values
    excess = ordered.cumsum(-1) - 1
    shares = (ordered * torch.arange(1, x.shape[-1] + 1) > excess).sum(-1, keepdim=True).clamp(1)
    return torch.relu(x - excess.gather(-1, shares - 1) / shares)


def _gated(activation: str) -> Callable[[Any, Any], Any]:
    def gated(torch: Any, x: Any) -> Any:
        value, gate = x.chunk(2, -1)
        return value * getattr(torch.nn.functional, activation)(gate)

    return gated


# In torch, for there is autograd: what it calls otherwise, and what has no name there or a wrong meaning elsewhere.
_COMPOSED: dict[str, tuple[str, Callable[..., Any]]] = {
    "prelu": (
        "nn.functional.prelu",
        lambda torch, x, alpha: torch.nn.functional.prelu(x, torch.full((1,), alpha, dtype=x.dtype)),
    ),
    "tanh_offset": ("sigmoid of twice x", lambda torch, x: torch.sigmoid(2 * x)),
    "relu_squared": ("relu squared", lambda torch, x: torch.relu(x) ** 2),
    "gaussian": ("exp of -x*x", lambda torch, x: torch.exp(-x * x)),
    "quick_gelu": ("x times sigmoid", lambda torch, x: x * torch.sigmoid(1.702 * x)),
    "sparsemax": ("operations", _sparsemax),
    "reglu": ("halves", _gated("relu")),
    "geglu": ("halves", _gated("gelu")),
    "swiglu": ("halves", _gated("silu")),
}

# For ONNX Runtime.
_GRAPHS: list[tuple[str, str, dict[str, Any]]] = [
    ("sigmoid", "y = Sigmoid(x)", {}),
    ("tanh", "y = Tanh(x)", {}),
    ("softsign", "y = Softsign(x)", {}),
    ("hard_sigmoid", "y = HardSigmoid(x)", {}),
    ("hard_sigmoid", "y = HardSigmoid<alpha = 0.166666667>(x)", {}),
    ("relu6", "a = Constant<value_float = 0.0>() b = Constant<value_float = 6.0>() y = Clip(x, a, b)", {}),
    ("relu", "y = Relu(x)", {}),
    ("leaky_relu", "y = LeakyRelu(x)", {}),
    ("leaky_relu", "y = LeakyRelu<alpha = 0.25>(x)", {"negative_slope": 0.25}),
    ("prelu", "a = Constant<value_floats = [0.25]>() y = PRelu(x, a)", {"alpha": 0.25}),
    ("elu", "y = Elu(x)", {}),
    ("elu", "y = Elu<alpha = 0.5>(x)", {"alpha": 0.5}),
    ("celu", "y = Celu(x)", {}),
    ("celu", "y = Celu<alpha = 0.5>(x)", {"alpha": 0.5}),
    ("selu", "y = Selu(x)", {}),
    ("threshold", "y = ThresholdedRelu(x)", {"threshold": 1.0, "value": 0.0}),
    ("softplus", "y = Softplus(x)", {}),
    ("silu", "y = Swish(x)", {}),
    ("silu", "y = Swish<alpha = 3.0>(x)", {"beta": 3.0}),
    ("hard_swish", "y = HardSwish(x)", {}),
    ("mish", "y = Mish(x)", {}),
    ("gelu", "y = Gelu(x)", {}),
    ("gelu", 'y = Gelu<approximate = "tanh">(x)', {"approximate": "tanh"}),
    ("quick_gelu", "y = com.microsoft.QuickGelu(x)", {}),
    ("hard_shrink", "y = Shrink(x)", {}),
    ("soft_shrink", "y = Shrink<lambd = 1.0, bias = 1.0>(x)", {"lambd": 1.0}),
    ("identity", "y = Identity(x)", {}),
    ("softmax", "y = Softmax(x)", {}),
    ("softmax", "y = Softmax<axis = 0>(x)", {"axis": 0}),
    ("log_softmax", "y = LogSoftmax(x)", {}),
    ("log_softmax", "y = LogSoftmax<axis = 0>(x)", {"axis": 0}),
    ("logsumexp", "y = ReduceLogSumExp<keepdims = 0>(x)", {}),
    ("logsumexp", "a = Constant<value_ints = [-1]>() y = ReduceLogSumExp<keepdims = 0>(x, a)", {}),
]
# Operators of which ONNX Runtime has no kernel for float64; and Keras on NumPy makes float32 of it.
_FLOAT32_ONLY = {"Celu", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Selu"}
_FLOAT32_ONLY |= {"Softplus", "Softsign", "ThresholdedRelu"}


def _twins() -> list[Twin]:
    found = []
    for peer, names in _NAMES.items():
        lines = [line.split() for line in names.strip().split("\n")]
        for ours, call in [(line[0], call) for line in lines for call in line[1:]]:
            theirs, arguments, no_default = re.fullmatch(r"([\w.]+)(?:\((.*)\))?(!?)", call).groups("")
            pairs = [pair.rpartition("=") for pair in arguments.replace("*", "").split(",") if pair]
            taken = {name: at_peer or name for at_peer, _, name in pairs}
            axes = [] if "axis" not in taken else _SEVERAL if "*" in arguments else _AXES
            tried = [{}] * (not no_default) + [
                values for values in _VALUES.get(ours, axes) if values.keys() <= taken.keys()
            ]
            found += [Twin(peer, ours, theirs, values, taken) for values in tried]
    for ours, (theirs, composed) in _COMPOSED.items():
        for values in _VALUES.get(ours, [{}]):
            found.append(Twin("torch", ours, theirs, values, dict(zip(values, values, strict=True)), composed))
    return found + [Twin("onnx", *graph) for graph in _GRAPHS]


TWINS = _twins()

# What else the lists of `public` hold, by reason.
NOT_OURS: dict[str, dict[str, str]] = {
    "torch": {
        "random": "*dropout* rrelu gumbel_softmax",
        "losses": "*loss *cross_entropy* kl_div",
        "normalisation by moments": "*norm normalize",
        "pooling and convolution": "*pool* conv*",
        "products of matrices": "linear bilinear *mm *attention*",
        "distances": "pairwise_distance pdist cosine_similarity",
        "lookups": "embedding* one_hot",
        "rearrangement of elements": "*fold pad affine_grid grid_sample interpolate upsample* *shuffle",
        "in place": "*_",
        "helpers of the module": "assert_int_or_pair boolean_dispatch *torch_function*",
    },
    "jax": {
        "products of matrices": "dot_product_attention *scaled_dot_general* scaled_matmul",
        "normalisation by moments": "standardize",
        "lookups": "one_hot",
        "no activations": "log1mexp logmeanexp",
    },
    "keras": {
        "names to functions and back": "get serialize deserialize",
        "exp": "exponential",
        "losses": "sparse_categorical_crossentropy",
        "something else of that name": "ops.identity arctanh",
    },
    "scipy": {},
    "onnx": {
        "of signs and bits": "Abs Neg Sign Round Ceil Floor Not Bitwise*",
        "elementary functions": "Acos* Asin* Atan* Cos Cosh Sin Sinh Tan Erf Exp Log Reciprocal Sqrt",
        "one hot": "Hardmax",
        "reductions": "Reduce* DFT Det",
        "pooling and normalisation": "*Pool *Normalization LRN",
        "rearrangement of elements": "DepthToSpace SpaceToDepth Flatten Resize Squeeze Transpose Trilu",
        "of sequences and strings": "Sequence* String*",
    },
}

# Where the functions of a peer stand. In modules with a question mark there is much else, and only what sounds like an
# activation counts.
_MODULES = {
    "torch": "nn.functional special?",
    "jax": "nn scipy.special?",
    "keras": "activations ops?",
    "scipy": "special?",
}
_SOUND = re.compile(
    r"soft|sigm|expit|logit|logsum|relu|[cgs]?elu$|glu|swish|silu|mish|shrink|tanh|hard|sparse|plus|thresh|identity"
)


def public(peer: str, package: Any) -> set[str]:
    """List what a peer has: functions by their place in the package, operators of ONNX that look like activations."""
    if peer == "onnx":
        return {schema.name for schema in package.defs.get_all_schemas() if _is_unary(schema)}
    found = set()
    for place in _MODULES[peer].split():
        module = functools.reduce(getattr, place.rstrip("?").split("."), package)
        for name, value in vars(module).items():
            is_function = callable(value) and not inspect.isclass(value) and name[0].islower()
            if is_function and ("?" not in place or _SOUND.search(name)):
                found.add(f"{place.rstrip('?')}.{name}")
    return found


def _is_unary(schema: Any) -> bool:
    single = type(schema).FormalParameterOption.Single
    given = [each.type_str for each in schema.inputs if each.option == single]
    made = [each.type_str for each in schema.outputs if each.option == single]
    return not schema.domain and len(given) == len(schema.outputs) == 1 and given == made


def mapped(peer: str) -> set[str]:
    """List what is compared with ours, in the same terms."""
    theirs = {twin.theirs for twin in TWINS if twin.peer == peer}
    return theirs if peer != "onnx" else set(re.findall(r"\w+", " ".join(theirs)))
