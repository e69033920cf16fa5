"""What an operation does to a gradient: its role, and the shape of its derivative.

Roles split the account of a decay; they name mechanisms, not layers:

``activation`` elementwise nonlinearity · ``weight`` product with a weight · ``norm``
normalisation · ``reshape`` moves or views values (gain exactly 1) · ``sum`` adds signals ·
``product`` multiplies or contracts two signals · ``softmax`` · ``pool`` · ``dropout`` ·
``recurrent`` a whole sequence in one op · ``loss`` · ``leaf`` a parameter or input · ``rest``.
"""

from dataclasses import dataclass

_ROLES: dict[str, str] = {
    "activation": (
        "Sigmoid Tanh Relu Gelu Silu LeakyRelu Elu Hardtanh Softplus Mish Hardswish "
        "Hardsigmoid LogSigmoid PreluKernel Threshold Celu Selu Rrelu RreluWithNoise Glu "
        "Softshrink Hardshrink Softsign Sinh Cosh Tan Asin Acos Asinh Acosh Atanh Erfc Sinc "
        "Sin Cos Atan Erf Clamp ClampMin ClampMax Abs Relu6"
    ),
    "weight": (
        "Addmm Mm Bmm Baddbmm Mv Addmv Addbmm Convolution ConvolutionOverrideable "
        "MkldnnConvolution CudnnConvolution ThnnConv2D SlowConv3D Linear Bilinear Trilinear "
        "Embedding EmbeddingBag Addr Matmul MkldnnLinear GroupedMm SparseAddmm "
        "ConvDepthwise2D ConvDepthwise3D SlowConv2D SlowConvTranspose2D SlowConvTranspose3D "
        "SlowConvDilated2D SlowConvDilated3D CudnnConvolutionTranspose MiopenConvolution "
        "MpsConvolution ConvTbc NnpackSpatialConvolution"
    ),
    "norm": (
        "NativeBatchNorm NativeBatchNormLegit NativeBatchNormLegitNoTraining CudnnBatchNorm "
        "MiopenBatchNorm NativeLayerNorm NativeGroupNorm BatchNorm FusedRmsNorm RmsNorm "
        "InstanceNorm Renorm"
    ),
    "reshape": (
        "View UnsafeView Reshape ReshapeAlias Transpose T Permute Unsqueeze Squeeze Expand "
        "Alias AsStrided Slice Select Split SplitWithSizes Unbind Stack Cat Clone Contiguous "
        "ToCopy Copy CopySlices AsStridedBackward Narrow Flip Roll Movedim Unfold Index "
        "IndexSelect Gather Repeat UnsafeSplit ConstantPadNd ReflectionPad2D ReplicationPad2D "
        "PixelShuffle PixelUnshuffle ChannelShuffle PackPaddedSequence Tril Triu MaskedSelect "
        "Take IndexPut IndexPutImpl IndexAdd IndexCopy IndexFill Scatter ScatterAdd "
        "SelectScatter SliceScatter MaskedFill MaskedScatter Where ReflectionPad1D "
        "ReflectionPad3D ReplicationPad1D ReplicationPad3D Im2Col Col2Im Complex Conj "
        "ConjPhysical Sort Topk UnsafeIndex Rot90 ReshapeCopy LazyClone Lift LiftFresh "
        "MkldnnReshape DiagEmbed NanToNum Fill ToDense ToSparse UnsafeSplitWithSizes Trace "
        "NestedTensorFromMask NestedFromPadded ToPaddedTensor ViewAsReal ViewAsComplex Chunk "
        "Diagonal Slicescatter Swapaxes Identity"
    ),
    "sum": (
        "Add Sub AddRelu Sum Mean Rsub Neg Cumsum Logsumexp Logaddexp Nansum SparseSum FftC2C "
        "FftR2C FftC2R"
    ),
    "product": (
        "Mul Div Dot ScaledDotProductFlashAttentionForCpu ScaledDotProductFlashAttention "
        "ScaledDotProductEfficientAttention ScaledDotProductCudnnAttention "
        "ScaledDotProductFusedAttentionOverrideable Pow Addcmul Addcdiv Lerp Sqrt Rsqrt Exp "
        "Log Prod Reciprocal Log1P Expm1 Exp2 Log2 Log10 Var Std VarMean StdMean "
        "LinalgVectorNorm Norm Maximum Minimum Fmax Fmin Fmod Remainder Cumprod LinalgCross "
        "Cdist Pdist EuclideanDist Dist Vdot Sgn Sign Floor Round Ceil Trunc Frac Angle Hypot "
        "Atan2 Polar Xlogy Copysign Ldexp Erfinv Logit Lgamma Digamma LinalgMatrixExp "
        "LinalgInvEx LinalgSolveEx LinalgSvd LinalgQr LinalgEigh LinalgCholeskyEx LinalgDet "
        "LinalgSlogdet LinalgHouseholderProduct LinalgSolveTriangular WeightNormInterface "
        "FlashAttention EfficientAttention CudnnAttention"
    ),
    "softmax": (
        "Softmax LogSoftmax SafeSoftmax MaskedSoftmax SoftmaxBackwardData "
        "LogSoftmaxBackwardData SparseSoftmax SparseLogSoftmax"
    ),
    "pool": (
        "MaxPool2DWithIndices MaxPool1D MaxPool3DWithIndices AvgPool2D AvgPool3D "
        "AdaptiveAvgPool2D AdaptiveAvgPool1D AdaptiveAvgPool3D AdaptiveMaxPool2D "
        "MkldnnMaxPool2D UpsampleNearest2D UpsampleBilinear2D UpsampleNearest1D "
        "UpsampleLinear1D UpsampleNearest3D UpsampleTrilinear3D UpsampleBicubic2D "
        "UpsampleBicubic2DAa UpsampleBilinear2DAa UpsampleNearestExact1D "
        "UpsampleNearestExact2D UpsampleNearestExact3D AdaptiveMaxPool3D MaxPool2D "
        "MaxUnpool2D MaxUnpool3D FractionalMaxPool2D FractionalMaxPool3D GridSampler2D "
        "GridSampler3D CudnnGridSampler MkldnnAdaptiveAvgPool2D MkldnnMaxPool3D Amax Amin "
        "Aminmax Max Min Median Nanmedian Mode Kthvalue Cummax Cummin"
    ),
    "dropout": "NativeDropout FeatureDropout MulDropout FusedDropout",
    "recurrent": "MkldnnRnnLayer CudnnRnn MiopenRnn ThnnFusedLstmCell ThnnFusedGruCell",
    "loss": (
        "NllLoss NllLoss2D NllLossNd MseLoss L1Loss SmoothL1Loss HuberLoss BinaryCrossEntropy "
        "BinaryCrossEntropyWithLogits KlDiv CtcLoss SoftMarginLoss MultiMarginLoss "
        "MultilabelMarginLoss CosineEmbeddingLoss PoissonNllLoss"
    ),
    "leaf": "AccumulateGrad",
}
_ROLE_OF = {kind: role for role, kinds in _ROLES.items() for kind in kinds.split()}

EMBEDDINGS = frozenset({"Embedding", "EmbeddingBag"})
"""Ops that data enters by index: the deepest point of the trunk of a token model."""

NORMALIZERS = frozenset("Sqrt Rsqrt Var Std VarMean StdMean LinalgVectorNorm Norm".split())
"""Ops that a normalisation written out by hand takes a scale with."""

PARTIAL_VIEWS = frozenset(
    "Select Slice Narrow Unbind Split SplitWithSizes Index IndexSelect Gather MaskedSelect".split()
)
"""Views of a part: a way through one that keeps less than half of its tensor is no skip."""

PASSIVE_ROLES = frozenset({"reshape", "sum", "dropout"})
"""Roles that a skip connection may contain and still be a skip."""


def op_kind(node_name: str) -> str:
    """Autograd's node name without namespace, ``Backward`` and the overload number."""
    name = node_name.rsplit("::", 1)[-1]
    stem, _, number = name.rpartition("Backward")
    return stem if stem and (number.isdigit() or not number) else name


def role_of(kind: str) -> str:
    """The role of an op kind; ``"rest"`` for those not listed (custom functions among them)."""
    # The backward op of an op (double backward) scales by the same mechanism.
    return _ROLE_OF.get(kind) or _ROLE_OF.get(kind.removesuffix("Backward"), "rest")


@dataclass(frozen=True, slots=True)
class Shape:
    """Of an activation: the largest |f'|, and whether it flattens on both sides or only one."""

    slope: float
    two_sided: bool = False
    rectifier: bool = False


# Largest derivatives in closed form; None of them is tuned. GELU and SiLU peak near |x| = 1.5 and
# 2.4; for them only the order of magnitude is used, as they are flat on one side only.
ACTIVATIONS: dict[str, Shape] = {
    "sigmoid": Shape(0.25, two_sided=True),
    "tanh": Shape(1.0, two_sided=True),
    "hardtanh": Shape(1.0, two_sided=True),
    "relu6": Shape(1.0, two_sided=True, rectifier=True),
    "hardsigmoid": Shape(1 / 6, two_sided=True),
    "softsign": Shape(1.0, two_sided=True),
    "erf": Shape(1.1284, two_sided=True),
    "atan": Shape(1.0),
    "relu": Shape(1.0, rectifier=True),
    "threshold": Shape(1.0, rectifier=True),
    "leaky_relu": Shape(1.0),
    "prelu": Shape(1.0),
    "rrelu": Shape(1.0),
    "elu": Shape(1.0),
    "celu": Shape(1.0),
    "selu": Shape(1.7581),
    "gelu": Shape(1.1289),
    "silu": Shape(1.0998),
    "mish": Shape(1.0885),
    "hardswish": Shape(1.5),
    "softplus": Shape(1.0),
    "logsigmoid": Shape(1.0),
    "tanhshrink": Shape(1.0),
    "sin": Shape(1.0),
}


def activation_name(function_name: str) -> str | None:
    """The plain name of an activation (``relu_`` and ``relu`` are one), or ``None``."""
    name = function_name.rstrip("_").lower()
    name = {"log_sigmoid": "logsigmoid", "arctan": "atan"}.get(name, name)
    return name if name in ACTIVATIONS else None
