"""The claims themselves, in our words, with where each is measured and what came of it."""

from claims import Claim, accuracy, at, pair, show


def _of(experiment: str, what: str) -> str:
    return show(at(experiment, what))


def _percent(experiment: str, what: str) -> str:
    return f"{100 * at(experiment, what):.0f} %"


DEFAULT = "torch's default"
START = "torch's start"
SIGMOID = "30 sigmoids: decades"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        said="A weight moves by minus the learning rate times its gradient: no gradient, no learning.",
        experiments=("update_rule",),
        lessons=("not-in-optimizer", "detached", "epsilon-dominated"),
        number=lambda: (
            "SGD: differs from the rule by "
            f"{_of('update_rule', 'largest difference from W - 0.1 dJ/dW')} at most. A gradient a "
            "thousand times smaller: SGD's step is "
            f"{_of('update_rule', 'SGD: step on a gradient / 1000, over the full one')} of the full "
            f"one, Adam's {_of('update_rule', 'Adam: step on a gradient / 1000, over the full one')}"
        ),
        verdict="half true",
        why="Exact for plain gradient descent. Adam divides by the gradient's own size, so a small "
        "gradient alone stops nothing until its epsilon does; and a gradient that arrives is of no use "
        "where the optimizer does not hold the weight.",
    ),
    Claim(
        said="The gradient of a layer holds the product of the slopes f′ of all layers above it.",
        experiments=("product_law",),
        lessons=("depth-decay",),
        number=lambda: (
            "30 sigmoids: slopes counted by hand "
            f"{_of('product_law', f'{SIGMOID} by slopes, counted by hand')} decades, "
            f"ledger {_of('product_law', f'{SIGMOID} by slopes')}, whole gradient "
            f"{_of('product_law', f'{SIGMOID} in all, by autograd')}"
        ),
        verdict="true",
        why="Op by op, in the ledger; what the slopes leave open is the next row.",
    ),
    Claim(
        said="That product of slopes is the formula (the weight matrices are not in it).",
        experiments=("product_law",),
        lessons=("init-too-small", "depth-growth"),
        number=lambda: (
            "slopes and weights, in decades: 30 tanhs of gain 1.5 "
            f"{_of('product_law', '30 tanhs, gain 1.5: decades by slopes')} and "
            f"+{_of('product_law', '30 tanhs, gain 1.5: decades by weights')}; at gain 0.3 "
            f"{_of('product_law', '30 tanhs, weights 0.3 of that: decades by slopes')} and "
            f"{_of('product_law', '30 tanhs, weights 0.3 of that: decades by weights')}"
        ),
        verdict="not so",
        why="Every factor is a slope times a weight matrix. Weights can pay for the slopes, and they "
        "can lose everything by themselves with slopes near one.",
    ),
    Claim(
        said="With slopes between 0 and 1, as a sigmoid's 1/4, the product tends to zero.",
        experiments=("product_law",),
        records=("depth-activations.json",),
        lessons=("depth-decay",),
        number=lambda: (
            f"largest slope {_of('product_law', 'largest slope of sigmoid')}; 30 sigmoids "
            f"{_of('product_law', f'{SIGMOID} in all, by autograd')} decades. The same activation "
            "a hundred deep with `init.critical_`: "
            f"{accuracy('activations', 'sigmoid, unvanish.init.critical_ | digits | 100 | adam')} "
            "on digits"
        ),
        verdict="half true",
        why="The slopes' product does, the gradient need not: large weights on inputs near zero hold "
        "the scale, and a hundred plain sigmoid layers learn.",
    ),
    Claim(
        said="The derivative of tanh lies in (0, 1), so tanh layers shrink the gradient too.",
        experiments=("product_law", "sweeps"),
        lessons=("chaotic-signal",),
        number=lambda: (
            f"slope at 0: {_of('product_law', 'largest slope of tanh')}; 20 tanhs at gain 0.5, 1, 2: "
            f"{_of('sweeps', 'gain 0.5, 20 tanhs')}, {_of('sweeps', 'gain 1, 20 tanhs')}, "
            f"+{_of('sweeps', 'gain 2, 20 tanhs')} decades"
        ),
        verdict="not so",
        why="It is exactly 1 at zero. Whether tanh layers lose, hold or blow up the gradient is decided "
        "by the scale of their weights.",
    ),
    Claim(
        said="Outside of a range the function hardly reacts to its input: saturation.",
        experiments=("saturation",),
        lessons=("saturated-activation", "unscaled-input"),
        number=lambda: (
            f"slope of the sigmoid at 0, 5, 10: {_of('saturation', 'slope of the sigmoid at 0')}, "
            f"{_of('saturation', 'slope of the sigmoid at 5')}, "
            f"{_of('saturation', 'slope of the sigmoid at 10')}; saturated tanh units with inputs "
            "times 1, 10, 100: "
            + ", ".join(
                _percent("saturation", f"inputs times {f}: saturated units of the first layer")
                for f in (1, 10, 100)
            )
        ),
        verdict="true",
        why="Inputs in their own units are enough, no depth is needed.",
    ),
    Claim(
        said="It comes from the activation, the depth, and initial weights that are too small; too "
        "large ones explode.",
        experiments=("sweeps",),
        lessons=("depth-decay", "init-too-small", "init-too-large"),
        number=lambda: (
            "sigmoid at depth 5, 10, 20, 40: "
            + ", ".join(_of("sweeps", f"depth {d}, sigmoid") for d in (5, 10, 20, 40))
            + " decades; 20 tanhs at gain 0.5 and 4: "
            f"{_of('sweeps', 'gain 0.5, 20 tanhs')} and +{_of('sweeps', 'gain 4, 20 tanhs')}; 20 "
            f"layers at gain 1: ReLU {_of('sweeps', 'ReLU, 20 layers, gain 1')}, tanh "
            f"{_of('sweeps', 'Tanh, 20 layers, gain 1')}, SiLU {_of('sweeps', 'SiLU, 20 layers, gain 1')}"
        ),
        verdict="true",
        why="Each turned by itself; the loss a layer does not depend on the depth. Wiring, number formats "
        "and the training loop are missing from the list, and are met more often.",
    ),
    Claim(
        said="Early layers stand still, training is slow, features are not learned, accuracy falls.",
        experiments=("update_rule",),
        lessons=("depth-decay",),
        number=lambda: (
            "20 sigmoids, one step of SGD, update over weight: last layer "
            f"{_of('update_rule', 'update / weight, last layer')}, first "
            f"{_of('update_rule', 'update / weight, first layer')} (below the resolution of float32). "
            "Six sigmoids, right on unseen samples: "
            f"{_percent('update_rule', 'six sigmoids, all layers train: right on unseen samples')}, as with "
            "their first three frozen "
            f"({_percent('update_rule', 'six sigmoids, first three frozen: right on unseen samples')}); "
            f"six ReLUs {_percent('update_rule', 'six ReLUs, all layers train: right on unseen samples')}"
        ),
        verdict="true",
        why="Under SGD the early layers are as good as frozen.",
    ),
    Claim(
        said="ReLU's derivative is 1 for positive inputs, so ReLU does not vanish.",
        experiments=("rectifiers",),
        records=("depth-depth.json",),
        lessons=("collapsed-signal", "dead-units"),
        number=lambda: (
            "30 ReLUs, a layer passes on "
            + _of("rectifiers", "30 ReLUs, torch's default: factor a layer")
            + " from torch's default start, "
            f"{_of('rectifiers', '30 ReLUs, He: factor a layer')} from He's; a hundred of them learn "
            f"digits to {accuracy('depth', f'{DEFAULT} | digits | 100 | adam')} (chance) "
            f"and {accuracy('depth', 'He | digits | 100 | adam')}"
        ),
        verdict="not so",
        why="The other half of the slopes is 0, and the default weights make it 0.41 a layer (the root of "
        "1/6). With He's weights the size is kept, and at depth the samples still become alike.",
    ),
    Claim(
        said="Leaky ReLU, GELU and SiLU stay alive for negative inputs: no dying units.",
        experiments=("rectifiers",),
        lessons=("dead-units",),
        number=lambda: (
            "units of slope exactly 0 on all samples after 20 steps of SGD at rate 3: "
            + ", ".join(
                f"{name} {_percent('rectifiers', f'{name}: units whose slope is 0 for all samples')}"
                for name in ("ReLU", "LeakyReLU", "GELU", "SiLU")
            )
        ),
        verdict="half true",
        why="True of leaky ReLU. GELU and SiLU flatten out: far below zero their slope is zero to "
        "float32, and a step too large takes units there.",
    ),
    Claim(
        said="Xavier's initial values keep the signal's variance; He's are those for ReLU.",
        experiments=("initial_values",),
        records=("depth-textbook.json", "depth-depth.json"),
        lessons=("collapsed-signal", "init-too-small"),
        number=lambda: (
            "30 ReLUs, signal at the end over the start: Xavier "
            f"{_of('initial_values', 'Xavier, 30 ReLUs: signal, end over start')}, He "
            f"{_of('initial_values', 'He, 30 ReLUs: signal, end over start')}; digits: "
            f"{accuracy('textbook', 'He-30, Xavier | digits | 30 | sgd')} and "
            f"{accuracy('textbook', 'He-30, He | digits | 30 | sgd')}. He, 100 ReLUs: signal "
            f"{_of('initial_values', 'He, 100 ReLUs: signal, end over start')}, cosine between samples "
            f"{_of('initial_values', 'He, 100 ReLUs: mean cosine between samples')}, digits "
            f"{accuracy('depth', 'He | digits | 100 | adam')}"
        ),
        verdict="half true",
        why="He's does what it says for ReLU where Xavier's fails. To keep the variance is not enough: "
        "at a hundred layers all samples point the same way.",
    ),
    Claim(
        said="Batch norm fixes it: stable, faster, less dependent on initial values.",
        experiments=("batch_norm",),
        records=("depth-textbook.json", "depth-convolutions.json"),
        lessons=("depth-growth",),
        number=lambda: (
            "5 ReLUs, right on unseen samples without and with: weights too small "
            f"{_percent('batch_norm', 'without, gain 0.1, rate 0.1: right')} and "
            f"{_percent('batch_norm', 'with batch norm, gain 0.1, rate 0.1: right')}, rate 3 "
            f"{_percent('batch_norm', 'without, gain 1.4, rate 3: right')} and "
            f"{_percent('batch_norm', 'with batch norm, gain 1.4, rate 3: right')}. 100 ReLUs: the "
            "gradient grows by "
            f"{_of('batch_norm', '100 ReLUs behind batch norms: factor a layer')} a layer; digits "
            f"{accuracy('textbook', f'batch norm, {DEFAULT} | digits | 100 | adam')} "
            "(chance)"
        ),
        verdict="half true",
        why="It forgives bad starts and large steps in shallow nets. Without skips it makes the gradient "
        "of a deep net explode (1.21 a layer in the limit of large batches, Yang et al. 2019).",
    ),
    Claim(
        said="Residual connections let the gradient through: hundreds of layers become trainable.",
        experiments=("residual",),
        records=("depth-convolutions.json", "nn-parts.json"),
        lessons=("collapsed-signal",),
        number=lambda: (
            "56 convolutions on digits: residual "
            f"{accuracy('convolutions', 'residual twin | digits | 56 | adam')}, plain with torch's default "
            f"{accuracy('convolutions', f'plain, {DEFAULT} | digits | 56 | adam')}, plain "
            "with `init.critical_` "
            f"{accuracy('convolutions', 'plain, unvanish.init.critical_ | digits | 56 | adam')}. "
            "50 blocks x + f(x) without norm: loss at the start "
            f"{_of('residual', 'x + f(x): loss at the start')}; branches over root of 50: "
            f"{_of('residual', 'x + f(x) / root of 50: loss at the start')}, "
            f"{_percent('residual', 'x + f(x) / root of 50: right on unseen samples')} right"
        ),
        verdict="true",
        why="With a norm, or with branches that start small: a bare sum doubles the scale block by block. "
        "And it is not the only way.",
    ),
    Claim(
        said="Recurrent nets lose the gradient over time steps.",
        experiments=("through_time",),
        records=("depth-recurrences.json",),
        lessons=("time-decay",),
        number=lambda: (
            "gradient at the first input over that at the last: 20 steps "
            f"{_of('through_time', 'RNN, 20 steps')}, 100 steps {_of('through_time', 'RNN, 100 steps')}, "
            "while the recurrent weights' gradient is "
            f"{_of('through_time', 'RNN, 100 steps: gradient of the recurrent weights')}"
        ),
        verdict="true",
        why="And the gradients of the weights do not show it: the last steps fill them.",
    ),
    Claim(
        said="Use an LSTM or GRU: their gates prevent it.",
        experiments=("through_time",),
        records=("depth-recurrences.json",),
        lessons=("time-decay",),
        number=lambda: (
            f"100 steps: LSTM {_of('through_time', 'LSTM, 100 steps')}, GRU "
            f"{_of('through_time', 'GRU, 100 steps')}, LSTM with forget bias 1, 3, 5: "
            + ", ".join(_of("through_time", f"LSTM, forget bias {b}, 100 steps") for b in (1, 3, 5))
            + ". Adding over 50 steps, variance explained: default LSTM "
            f"{accuracy('recurrences', f'LSTM, {DEFAULT} | adding | 50 | adam')}, "
            f"chrono gates {accuracy('recurrences', 'LSTM, chrono | adding | 50 | adam')}, default GRU "
            f"{accuracy('recurrences', f'GRU, {DEFAULT} | adding | 50 | adam')}"
        ),
        verdict="half true",
        why="Gates can, if they start open. torch's start half closed, so that a default LSTM forgets as "
        "an RNN does; a GRU gets over it on one task and not on another (copying).",
    ),
    Claim(
        said="Transformers avoid it, by attention instead of sequence.",
        experiments=("attention",),
        records=("depth-transformers.json",),
        lessons=("post-norm-depth",),
        number=lambda: (
            "first over middle of 50 positions "
            f"{_of('attention', 'pre-norm: first over middle position of 50')}; first over last of 24 "
            "blocks: pre-norm "
            f"{_of('attention', 'pre-norm, 24 blocks: gradient, first over last block')}, post-norm "
            f"{_of('attention', 'post-norm, 24 blocks: gradient, first over last block')}, no skip and no "
            f"norm {_of('attention', 'no skip, no norm, 24 blocks: gradient, first over last block')} "
            "(digits: "
            f"{accuracy('transformers', f'no skip, no norm, {DEFAULT} | digits | 24 | adam')})"
        ),
        verdict="half true",
        why="Over positions, yes: each is one step away. Over depth it is the skip connections that "
        "carry the gradient; attention without them vanishes like any other stack.",
    ),
    Claim(
        said="Exploding is the same multiplication the other way; it ends in NaN, and clipping answers it.",
        experiments=("exploding",),
        lessons=("depth-growth", "time-growth", "always-clipped"),
        number=lambda: (
            "30 ReLUs at twice He's scale: "
            f"{_of('exploding', '30 ReLUs at twice He: growth a layer')} a layer, NaN after "
            f"{_of('exploding', 'twice He: steps before NaN (200: none)')} steps. Clipped at 1: finite for "
            "200 steps, "
            f"{_percent('exploding', 'twice He, clipped at 1: right on unseen samples')} right (chance "
            "10 %); He's scale instead: "
            f"{_percent('exploding', 'He: right on unseen samples')}"
        ),
        verdict="half true",
        why="The first two parts are true. Clipping keeps the numbers finite; it shortens all layers alike, "
        "so that what is out of proportion stays so. It is for spikes.",
    ),
    Claim(
        said="Modern detectors (Ultralytics YOLO: SiLU, batch norm, residual parts) train stably out of "
        "the box.",
        experiments=("detector",),
        number=lambda: (
            "gradient, first over last of the ten parts of YOLO11n's backbone, fresh weights: "
            f"{_of('detector', 'YOLO11n, SiLU: gradient, first over last of 10 parts')}; with sigmoids "
            f"for SiLUs {_of('detector', 'YOLO11n, Sigmoid: gradient, first over last of 10 parts')}. "
            "Four steps of its own training, watched, raise no alarm (tests/test_integration_yolo.py)"
        ),
        verdict="half true",
        why="Nothing vanishes, as far as it was looked at. It is not SiLU that does it: with sigmoids the "
        "batch norms hold the scale as well. What either learns in a full training was not measured.",
    ),
    Claim(
        said="Adaptive activation functions would help (an open task).",
        records=("nn-parts.json",),
        number=lambda: (
            "points on digits, 30 layers, 5 seeds: slope learned over the same slope fixed "
            f"{pair('TailoredPReLU', 'TailoredLeakyReLU', 'digits')}, Swish over SiLU "
            f"{pair('Swish', 'SiLU', 'digits')}, rational over fixed "
            f"{pair('Rational(tailored SiLU)', 'TailoredActivation(SiLU)', 'digits')}; scale and shift "
            "derived from the depth, not learned, over plain SiLU "
            f"{pair('TailoredActivation(SiLU)', 'SiLU', 'digits')}"
        ),
        verdict="not so",
        why="Not by learning them, in what we measured. An activation whose scale and shift are solved "
        "from the depth helps much; learning its shape adds nothing or harms.",
    ),
    Claim(
        said="Architectures that control their gradient flow by themselves would help (an open task).",
        records=("nn-parts.json",),
        number=lambda: (
            "points, 5 seeds: layers held isometric, from torch's start, digits "
            f"{pair(f'{START}, Homeostatic', f'{START}, calibrated', 'digits')}; "
            "gated skip over He's plain residual blocks, digits "
            f"{pair('GatedResidual(rezero)', 'He blocks', 'digits')}; regulated RNN over LSTM, distant "
            "parity "
            f"{pair('RegulatedRNN', 'LSTM', 'distant parity')}; gradient valve in chaotic blocks, digits "
            f"{pair('GradientValve(chaotic tanh)', 'chaotic tanh blocks', 'digits')}"
        ),
        verdict="half true",
        why="Those that hold the forward signal's scale do. Scaling the gradient alone, as a valve, "
        "does not: it changes the step and not the net.",
    ),
    Claim(
        said="Together these make very deep models trainable.",
        records=("depth-depth.json",),
        lessons=("depth-decay",),
        number=lambda: (
            "plain ReLU nets on digits: 100 layers with torch's default "
            f"{accuracy('depth', f'{DEFAULT} | digits | 100 | adam')}; with "
            "`init.critical_` at 100, 1,000 and 10,000 layers "
            f"{accuracy('depth', 'unvanish.init.critical_ | digits | 100 | adam')}, "
            f"{accuracy('depth', 'unvanish.init.critical_ | digits | 1000 | adam')}, "
            f"{accuracy('depth', 'unvanish.init.critical_ | digits | 10000 | adam')} (2 seeds)"
        ),
        verdict="true",
        why="They do, and fewer are needed than it is said: initial values alone, with no norm, no skip "
        "and no other activation, reach ten thousand layers.",
    ),
)
