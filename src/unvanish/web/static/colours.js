// Numbers to colours. The map is viridis (perceptually even, readable by colour-blind people, and in
// grey on paper) as polynomials, from its first tenth on, so that its dark end is not taken for the
// black of an exact zero.

const C = [
  [0.2777273272, 0.0054073445, 0.3340998053],
  [0.105093043, 1.4046135299, 1.3845901626],
  [-0.3308618287, 0.2148475595, 0.0950951630],
  [-4.6342304989, -5.7991009734, -19.3324409563],
  [6.2282699363, 14.1799333668, 56.690552601],
  [4.7763849977, -13.7451453777, -65.3530326334],
  [-5.4354558559, 4.6458526122, 26.3124352496],
];
const FROM = 0.1;
const LEVELS = 256;

/** Exactly zero, and not finite: told from the map by hue and lightness. */
export const ZERO = [0, 0, 0];
export const NOT_FINITE = [226, 44, 32];

/** Read, and there is none of it: next to the ground, so that whatever there is stands out. */
export function noneColour() {
  return matchMedia("(prefers-color-scheme: dark)").matches ? [38, 46, 57] : [231, 235, 240];
}

function viridis(share) {
  const x = FROM + (1 - FROM) * share;
  return [0, 1, 2].map((channel) => {
    let sum = 0;
    for (let power = C.length - 1; power >= 0; power -= 1) sum = sum * x + C[power][channel];
    return Math.round(255 * Math.min(Math.max(sum, 0), 1));
  });
}

/** The map as `[red, green, blue]` for each of 256 levels. */
export const MAP = Array.from({ length: LEVELS }, (_, level) => viridis(level / (LEVELS - 1)));

function packed([red, green, blue]) {
  return (255 << 24) | (blue << 16) | (green << 8) | red;
}

const PACKED = Int32Array.from(MAP, packed);
const PACKED_ZERO = packed(ZERO);
const PACKED_NOT_FINITE = packed(NOT_FINITE);

/** How each statistic is shown: on a scale of decades or of shares, and what a zero in it means. */
export const SCALES = {
  gradient_rms: { decades: true, zero: "exact" },
  gradient_abs_max: { decades: true, zero: "exact" },
  weight_rms: { decades: true, zero: "exact" },
  update_to_weight: { decades: true, zero: "exact" },
  gradient_zeros: { decades: false, zero: "low" },
  gradient_nonfinite: { decades: true, zero: "good" },
  histogram: { decades: false, zero: "good" },
};

/** The range of colours for some tables: whole decades, at most sixteen; shares from 0. */
export function rangeOf(tables, scale) {
  let low = Infinity;
  let high = -Infinity;
  for (const table of tables) {
    for (const value of table) {
      if (value > 0 && value < Infinity) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
  }
  if (!scale.decades) return [0, high > 0.5 || high < 0 ? 1 : Math.max(high, 0.01)];
  if (high < 0) return [-8, 0];
  const top = Math.ceil(Math.log10(high) - 1e-9);
  const bottom = Math.max(Math.floor(Math.log10(low) + 1e-9), top - 16);
  return [Math.min(bottom, top - 1), top];
}

/** Each value of a table as one pixel of an image; what was not read is transparent. */
export function pixels(table, scale, [low, high]) {
  const image = new Int32Array(table.length);
  const steps = (LEVELS - 1) / (high - low);
  const none = packed(noneColour());
  for (let i = 0; i < table.length; i += 1) {
    const value = table[i];
    if (value !== value) continue;
    if (value === 0 && scale.zero === "exact") image[i] = PACKED_ZERO;
    else if (value === 0 && scale.zero === "good") image[i] = none;
    else if (!Number.isFinite(value)) image[i] = PACKED_NOT_FINITE;
    else {
      const at = ((scale.decades ? Math.log10(Math.abs(value)) : value) - low) * steps;
      image[i] = PACKED[at < 0 ? 0 : at > LEVELS - 1 ? LEVELS - 1 : at | 0];
    }
  }
  return image;
}

/** Colours of curves (Okabe and Ito's, darkened or lightened for the ground), and their dashes. */
export const CURVES = {
  light: ["#0060a0", "#b34700", "#007a5a", "#9a3d73", "#6b5b00", "#2f7fb5", "#444444", "#c2185b"],
  dark: ["#56b4e9", "#ff9d5c", "#2fd1a3", "#e592c3", "#f0e442", "#9ecbff", "#d0d0d0", "#ff8ab0"],
};
