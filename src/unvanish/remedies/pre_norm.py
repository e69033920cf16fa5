"""pre-norm: normalise before each branch, not after the sum."""

from collections.abc import Iterable

from torch import nn

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import body
from unvanish.remedies.drafts import advice, listed
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.edits import Edit

CARD = RemedyCard(
    name="pre-norm",
    title="norms at the start of each branch",
    what="A norm behind each sum divides the way past all blocks by the size of the sum, again and "
    "again. At the start of the branch it leaves that way alone. torch's transformer layers "
    "can do both (norm_first); in blocks of your own x = norm(x + f(x)) becomes x = x + "
    "f(norm(x)).",
    harms="Trained weights do not carry over. The stream grows with depth and wants one norm at its "
    "end; very deep pre-norm nets make less use of their last blocks.",
    reference="Xiong et al. 2020, arXiv:2002.04745; Wang et al. 2019, arXiv:1906.01787",
)
LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """``norm_first`` of torch's own layers; else how the block is to be written."""
    places = tuple(
        name
        for name, module in body(patient).named_modules()
        if isinstance(module, LAYERS) and not module.norm_first
    )
    if places:
        yield (Edit(action="set", where=places, options={"norm_first": True}),)
    else:
        yield advice(
            f"Write x = x + f(norm(x)) in place of x = norm(x + f(x)): {listed(finding.where)}.",
            finding.where,
        )


REMEDY = Remedy(
    card=CARD,
    level="norm",
    keep="shape",
    safety="changes the function",
    treats=("post-norm-depth",),
    plan=plan,
)
