"""What a report tells its reader to do next: a sentence for each remedy."""

NEXT = {
    "reinitialize": (
        "re-initialise these weights for their activation (torch.nn.init: He for ReLU and its "
        "kin, orthogonal for tanh), their biases at zero"
    ),
    "tailored-activation": "use an activation whose slope is one on average at this scale",
    "swap-activation": (
        "swap the activation for one that passes the gradient (ReLU, GELU, SiLU, leaky ReLU)"
    ),
    "orthogonal": (
        "initialise orthogonally (torch.nn.init.orthogonal_, gain 1 for tanh): all directions pass "
        "alike"
    ),
    "clear-gradients": "call optimizer.zero_grad() before the first backward call of each step",
    "unscale-first": "call scaler.unscale_(optimizer) before clipping",
    "raise-clip-limit": "raise the limit to about the 90th percentile of the norm before clipping",
    "average-accumulation": "divide each micro-batch's loss by their number before backward",
    "scale-loss": (
        "scale the loss (torch.amp.GradScaler), or train in bfloat16, whose range is float32's"
    ),
    "insert-norm": "put a normalisation layer before each activation",
    "gated-residual": "add skip connections around pairs of layers",
    "scale-residual": "scale each residual branch by 1/sqrt(number of blocks), or start it at zero",
    "remove-norm": "take batch norm out of the plain stack, or add skips around it",
    "clip": "clip the gradient norm while it is large (this hides the growth, it does not cure it)",
    "scale-input": "scale the inputs to zero mean and unit variance",
    "recurrent-initialization": "initialise the recurrent weights orthogonal or as identity",
    "gate-bias": "set the forget-gate bias to 1 ... 3",
    "recurrent-cell": "use a gated cell (LSTM, GRU) with that bias",
    "guard-operation": (
        "make the input of this operation safe (clamp, an epsilon inside, torch.where before it)"
    ),
    "logits-loss": "use a loss that takes logits (cross_entropy, binary_cross_entropy_with_logits)",
    "register-modules": "keep these layers in nn.ModuleList, nn.ModuleDict or nn.Parameter",
    "step-size": "change the learning rate as the what-if did",
    "optimizer-epsilon": "lower the optimizer's eps to a hundredth of the gradient's own size",
    "loss-scale": "multiply the loss by a constant (sum instead of mean)",
    "weight-decay": "lower weight_decay, and keep it off norms and biases",
    "flip-sign": "take the minus sign (or maximize=True) away",
    "scale-target": "scale the targets to zero mean and unit variance, undo it on the predictions",
    "check-data": "check that inputs and labels belong together",
    "single-logit": (
        "for two classes use one output with BCEWithLogitsLoss, or two with CrossEntropyLoss"
    ),
    "drop-softmax": "return raw scores: the loss applies softmax or sigmoid itself",
    "insert-activation": "put an activation between these layers, or keep one of them",
    "pre-norm": "normalise before each branch, not after the sum (norm_first=True)",
    "warm-up": "warm the learning rate up over thousands of steps",
    "full-precision-weights": "keep the weights in float32 and compute under torch.autocast",
    "complete-optimizer": "give the optimizer all of model.parameters(), with a rate above zero",
    "non-reentrant": "pass use_reentrant=False to the checkpoint",
    "wake-one-factor": "start one of the factors at random (LoRA: A random, B zero)",
    "match-shapes": "bring prediction and target to one shape (outputs.squeeze(-1))",
    "unfreeze": "set requires_grad_(True) on what should train, after everything was frozen",
    "rewire": (
        "remove the cut (.detach(), .data, no_grad, numpy) between these parameters and the loss"
    ),
}
"""By the name of a remedy; the words that the report shows under "Next"."""
