"""What to predict before a lesson is run: one question for each, its choices, the answer and why."""

import textwrap
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """A question with ``choices``, of which number ``right`` (from 0) is so, ``because``."""

    asks: str
    choices: tuple[str, ...]
    right: int
    because: str

    @property
    def answer(self) -> str:
        """The right choice with its letter, and why."""
        return f"{'abcdef'[self.right]}) {self.choices[self.right]}: {self.because}"

    def __str__(self) -> str:
        choices = [f"  {letter}) {c}" for letter, c in zip("abcdef", self.choices, strict=False)]
        return "\n".join([textwrap.fill(self.asks, 88), *choices])


QUESTIONS: dict[str, Question] = {
    "nothing-trainable": Question(
        "Only the head has requires_grad. What does the loss do in a hundred steps?",
        ("it stands still", "it falls, by what the head can do", "it falls as with the adapter"),
        1,
        "the head learns on frozen features, which is why the loss does not show the fault.",
    ),
    "unregistered-module": Question(
        "The hidden layers are in a Python list. Do they get gradients?",
        ("yes, and they are trained", "yes, and no optimizer steps them", "no"),
        1,
        "autograd follows the computation and does not care who registered what; "
        "model.parameters() does.",
    ),
    "nonfinite-forward": Question(
        "One feature is the same in every sample, and features are divided by their deviation. How "
        "many of the weights have a usable gradient after the first step?",
        ("all but those of that feature", "half of them", "none"),
        2,
        "NaN in one input is NaN in every sum that it enters, and after one layer that is all of them.",
    ),
    "nonfinite-backward": Question(
        "Distances between samples, each a root. What is the slope of the root where the distance is "
        "zero?",
        ("0", "1", "infinite"),
        2,
        "1 / (2 root(x)) at x = 0; what it is multiplied by is zero there, and the product is NaN.",
    ),
    "loss-scale-collapse": Question(
        "One batch in eight gives NaN at any scale. The scaler halves its scale at each of them and "
        "doubles it after 2,000 good steps. Where does the scale go?",
        ("it settles", "towards zero", "up and down for ever"),
        1,
        "it is halved far more often than it is doubled.",
    ),
    "half-precision-underflow": Question(
        "Gradients below 6e-8 are written in float16. What is stored?",
        ("the number, less precisely", "zero", "NaN"),
        1,
        "6e-8 is the smallest number that float16 has; half of it and less is rounded to zero.",
    ),
    "single-unit-softmax": Question(
        "A softmax over one single output. What is the output for a sample that is clearly a no?",
        ("near 0", "0.5", "1"),
        2,
        "its entries add up to one, and there is only one entry.",
    ),
    "frozen-by-checkpoint": Question(
        "A checkpointed trunk behind a frozen embedding. What is .grad of the trunk's weights?",
        ("None", "zero", "small"),
        0,
        "the reentrant checkpoint builds no graph if no input requires grad: they are not reached.",
    ),
    "detached": Question(
        "The encoder's output is detached before the head. What is .grad of the encoder's weights, and "
        "does the loss fall?",
        ("zero, and it stands", "None, and it falls", "None, and it stands"),
        1,
        "the cut leaves no gradient at all behind it, and the head in front of it learns.",
    ),
    "not-in-optimizer": Question(
        "The head is not among the optimizer's parameters. How large are its gradients after some steps?",
        ("zero", "as at the start", "larger and larger"),
        2,
        "optimizer.zero_grad passes them by as well, so that they add up.",
    ),
    "broadcast-loss": Question(
        "Predictions of shape (N, 1), targets of shape (N). What does the best network predict?",
        ("each its own target", "the mean of the targets for all", "zero"),
        1,
        "each prediction is compared with every target, and the mean is nearest to all of them.",
    ),
    "symmetric-init": Question(
        "All weights start at zero. How many different rows has the first weight matrix after "
        "training?",
        ("as many as units", "two", "one"),
        2,
        "units that start equal get equal gradients and stay equal.",
    ),
    "stuck-saddle": Question(
        "Both factors of an adapter start at zero. At which step does its gradient become non-zero?",
        ("the first", "the second", "never"),
        2,
        "the gradient of each factor is multiplied by the other one, and both stay zero.",
    ),
    "double-softmax": Question(
        "A perfect answer of ten classes goes through softmax twice. What comes out for the right class?",
        ("1", "0.5", "0.23"),
        2,
        "e / (e + 9): the second softmax gets numbers between 0 and 1 only.",
    ),
    "no-nonlinearity": Question(
        "Four linear layers without activations, two rings. Which accuracy do eight layers reach?",
        ("a half, as four do", "three quarters", "all"),
        0,
        "a product of matrices is a matrix: one straight line, whatever the number.",
    ),
    "post-norm-depth": Question(
        "Forty post-norm blocks. Where are the norms of the weights' gradients smallest?",
        ("in the first blocks, by many decades", "in the last blocks", "they are about the same"),
        2,
        "the norms bring every gradient to scale; what is lost is the part that comes by the skips.",
    ),
    "half-precision-weights": Question(
        "A weight of 1 in float16, an update of 0.0001. What is the weight afterwards?",
        ("0.9999", "1", "0.999"),
        1,
        "between 0.5 and 1 float16 has steps of 0.0005; a fifth of one rounds to nothing.",
    ),
    "clip-before-unscale": Question(
        "A gradient of true norm 0.4, scaled by 65,536, is clipped to 1 and then unscaled. Its norm?",
        ("0.4", "1", "0.000015"),
        2,
        "1 / 65,536. The limit was applied to the wrong number.",
    ),
    "stale-gradients": Question(
        "zero_grad is never called. What does the loss do?",
        ("it falls, too slowly", "it falls, turns and swings", "it stands still"),
        1,
        "the sum of all gradients acts as a momentum that never decays.",
    ),
    "wrong-sign": Question(
        "The loss has a minus sign too many. What does the loss curve look like?",
        ("it rises", "it falls and falls", "it stands still"),
        1,
        "the optimizer does what it is told, and the accuracy falls below that of a guess.",
    ),
    "unscaled-accumulation": Question(
        "Sixteen backward calls before one step, each on a mean over its part. How large is the "
        "gradient, beside that of the whole batch?",
        ("the same", "four times", "sixteen times"),
        2,
        "the parts' means add up; only their mean would be the mean of the batch.",
    ),
    "unfit-loss": Question(
        "A sigmoid at the end, targets between -3 and 3. Does a wider network help?",
        ("yes", "no"),
        1,
        "no output can leave the range from 0 to 1, whatever stands before it.",
    ),
    "unscaled-input": Question(
        "Inputs from 0 to 255 into a tanh layer. What share of its units is saturated?",
        ("a few", "a half", "nearly all"),
        2,
        "its sums are hundreds, and tanh is flat from about 3 on.",
    ),
    "step-too-large": Question(
        "Adam with a learning rate of 1. How far does one step move a weight of 0.1?",
        ("by about 0.1", "by about 1", "by its gradient"),
        1,
        "Adam divides by the gradient's size, so that the rate itself is the length of a step.",
    ),
    "unscaled-target": Question(
        "Targets about 300,000; Adam moves the last bias by 0.001 at each step. After how many steps is "
        "it there by itself?",
        ("3,000", "300,000", "300,000,000"),
        2,
        "300,000 / 0.001. The other weights help, and it still takes far longer than anybody waits.",
    ),
    "weight-decay-dominates": Question(
        "The decay takes a tenth of each weight at every step. What is the norm of the weights in the end?",
        ("as at the start", "half of it", "near zero"),
        2,
        "the gradient puts back less than that, and a net of zeros guesses.",
    ),
    "init-too-large": Question(
        "64 inputs of size 1, weights from torch.randn. How large is the input of a tanh unit?",
        ("about 1", "about 8", "about 64"),
        1,
        "64 random terms add up to the root of 64, and at 8 tanh is flat.",
    ),
    "saturated-activation": Question(
        "A sigmoid whose input is -6.9. What share of the gradient does it let through?",
        ("a quarter", "a tenth", "a thousandth"),
        2,
        "its slope is s (1 - s) with s = 0.001.",
    ),
    "dead-units": Question(
        "ReLU units whose input is negative for every sample. How many steps wake them up?",
        ("one", "some hundreds", "none ever, by their own gradient"),
        2,
        "their slope is zero for all samples: no sample asks them to change.",
    ),
    "init-too-small": Question(
        "Each of nine layers multiplies the signal by 0.06. What does the output depend on?",
        ("the input", "the last layer's bias alone"),
        1,
        "0.06 to the power of nine is 1e-11, below what float32 adds to a bias.",
    ),
    "collapsed-signal": Question(
        "He's start, a hundred ReLU layers: norms are kept. What is the cosine between two samples at "
        "the end?",
        ("0", "0.5", "1, to two figures"),
        2,
        "every ReLU layer turns two directions a little towards each other.",
    ),
    "chaotic-signal": Question(
        "Sixty tanh layers with gain 5/3. Two samples differ by a hundredth. At the end they are ...",
        ("as near as they were", "nearer", "as far apart as strangers"),
        2,
        "each layer stretches small differences, until they are as large as the signal.",
    ),
    "depth-growth": Question(
        "Eighty blocks x + f(x), each branch as large as x. By how much does the signal grow?",
        ("80 times", "the root of 80", "2 to the power of 40"),
        2,
        "each sum doubles the energy, so the size grows by the root of two a block.",
    ),
    "depth-decay": Question(
        "Twenty sigmoids. On a logarithmic axis, the gradient over depth is ...",
        ("flat, with a drop at the input", "a straight line that falls", "a curve that levels off"),
        1,
        "every layer takes the same factor, so every layer takes the same number of decades.",
    ),
    "time-growth": Question(
        "A factor of two at each of fifty steps back in time. How large is the first step's gradient, "
        "beside the last one's?",
        ("100 times", "2,500 times", "1e15 times"),
        2,
        "2 to the power of 50.",
    ),
    "time-decay": Question(
        "An LSTM with a forget gate half open, a hundred steps. What share of the gradient arrives at the "
        "first one?",
        ("a half", "a hundredth", "nothing that float32 would notice"),
        2,
        "a half to the power of a hundred is 1e-30; the cell path is the only one that could keep more.",
    ),
    "epsilon-dominated": Question(
        "Gradients of 1e-14 and Adam's epsilon of 1e-8. How long is a step, in learning rates?",
        ("1", "a hundredth", "a millionth"),
        2,
        "the gradient over itself plus epsilon: 1e-14 / 1e-8.",
    ),
    "always-clipped": Question(
        "The norm is 1 and the clipping limit 0.001. What happens if the limit is doubled?",
        ("nothing", "every step is twice as long"),
        1,
        "the limit is reached at every step, so that it is the step size.",
    ),
    "step-too-small": Question(
        "A step changes a weight by a millionth of its size. How many steps until it has changed by its "
        "own size, if all go the same way?",
        ("a thousand", "a million"),
        1,
        "a million; at the usual thousandth it is a thousand.",
    ),
    "nothing-to-learn": Question(
        "The labels are shuffled. What does the training loss do?",
        ("it stays at a guess", "it falls as it should"),
        1,
        "a net with enough weights learns any labels by heart; only unseen samples tell.",
    ),
}
