"""Guided lessons on recurrence, gates and clipping."""

from dataclasses import replace

from unvanish.lab.guided import Guided
from unvanish.lab.settings import Settings
from unvanish.languages import marked
from unvanish.lessons.question import Question

POINTS = Settings(data="circles", cell="rnn", activation="tanh", steps=60, width=32)

TIME: tuple[Guided, ...] = (
    Guided(
        name="lstm-alone",
        title=marked("Use an LSTM?"),
        start=POINTS,
        question=Question(
            asks=marked(
                "A point is shown at step 1, then come 59 silent steps; which circle was it? A plain RNN "
                "with tanh is replaced by an LSTM with its usual start. What arrives at step 1?"
            ),
            choices=(
                marked("More: LSTMs were invented for this."),
                marked("Less: each step halves it, since the gates start half open."),
                marked("The same: the gradient over time does not depend on the cell."),
            ),
            right=1,
            because=marked(
                "The forget gate starts at σ(0) = 1/2, so the cell passes on about half of the gradient at "
                "each step; 59 halvings are eighteen decades, of which the other paths save some. An LSTM "
                "can keep a memory; that it does from the start is a question of its forget bias."
            ),
        ),
        then={"cell": "lstm"},
        finding="time-decay",
    ),
    Guided(
        name="open-gates",
        title=marked("Open the gates"),
        start=replace(POINTS, cell="lstm"),
        question=Question(
            asks=marked(
                "The same LSTM. Its forget gates are started almost open, for memories as long as the "
                "sequence (the initialisation called ours). What arrives at step 1?"
            ),
            choices=(
                marked("Nearly as much as at the last step."),
                marked("Nothing: 59 steps are too many for any gate."),
                marked("So much that it explodes."),
            ),
            right=0,
            because=marked(
                "A gate at σ(b) with b about the logarithm of the length keeps a share of 1 − 1/T at each "
                "step, and (1 − 1/T) to the power of T is about 1/e, however long the sequence is. No cell "
                "was changed, only biases. Train it and compare."
            ),
        ),
        then={"initialisation": "ours"},
        finding="time-decay",
    ),
    Guided(
        name="clipping",
        title=marked("What clipping does, and what it does not"),
        start=replace(POINTS, initialisation="large"),
        question=Question(
            asks=marked(
                "An RNN with large weights: the gradient explodes towards the first steps. Clipping at 1 is "
                "switched on. What does the profile over time look like?"
            ),
            choices=(
                marked("Level: what was too large is cut."),
                marked("As before: the whole is made smaller, its parts keep their proportions."),
                marked("It vanishes now."),
            ),
            right=1,
            because=marked(
                "Clipping multiplies the whole gradient by one number, so the direction stays: the first "
                "steps still outvote all others. It keeps a step from throwing the weights away, which is "
                "worth having; it does not cure the explosion. Train with and without it."
            ),
        ),
        then={"clip": 1.0},
        finding="time-growth",
    ),
)
