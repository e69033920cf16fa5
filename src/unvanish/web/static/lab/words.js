// What the choices of the sliders are called.

import { t } from "../page.js";

/** Names of the sliders and choices. */
export function names() {
  return {
    cell: t("Recurrence"),
    depth: t("Depth"),
    width: t("Width"),
    steps: t("Time steps"),
    activation: t("Activation"),
    initialisation: t("Initialisation"),
    norm: t("Norm"),
    skip: t("Skip"),
    optimizer: t("Optimizer"),
    rate: t("Learning rate"),
    clip: t("Clipping"),
    data: t("Data"),
    seed: t("Seed"),
  };
}

const SAME = {
  sigmoid: "sigmoid", tanh: "tanh", relu: "ReLU", leaky_relu: "LeakyReLU", gelu: "GELU",
  silu: "SiLU", selu: "SELU", prelu: "PReLU", rnn: "RNN", lstm: "LSTM", gru: "GRU",
  xavier: "Xavier", he: "He", sgd: "SGD", adam: "Adam",
};

/** The word for one choice of a slider. */
export function word(slider, choice) {
  if (choice in SAME) return SAME[choice];
  const words = {
    cell: { none: t("none: layers") },
    activation: { ours: t("ours: tailored to the depth") },
    initialisation: {
      small: t("too small"), large: t("too large"), orthogonal: t("orthogonal"), ours: t("ours: critical"),
    },
    norm: { none: t("none"), batch: t("batch norm"), layer: t("layer norm") },
    skip: { none: t("none"), sum: t("x + f(x)"), gated: t("gated (ours)") },
    optimizer: { momentum: t("SGD with momentum") },
    data: {
      digits: t("digits"), circles: t("circles"), spirals: t("spirals"), adding: t("adding task"),
    },
  };
  return words[slider][choice] || choice;
}
