// What is in the map, in words: statistics, rows, numbers, colours.

import { MAP, noneColour, NOT_FINITE, SCALES, ZERO } from "./colours.js";
import { element, number, percent, superscript, t } from "./page.js";

/** What can be shown, by the names of the statistics. */
export function statisticNames() {
  return {
    gradient_rms: t("Gradient rms (log10)"),
    update_to_weight: t("Update to weight (log10)"),
    gradient_zeros: t("Share of exact zeros"),
    gradient_nonfinite: t("Entries that are not finite"),
    gradient_abs_max: t("Largest gradient entry (log10)"),
    weight_rms: t("Weight rms (log10)"),
    histogram: t("Histogram of one tensor"),
  };
}

/** What the colours mean, from low to high. */
export function scaleKey(scale, [low, high], statistic) {
  const bar = element("canvas", { width: MAP.length, height: 1, role: "img", "aria-label": t("Colours from low to high") });
  const context = bar.getContext("2d");
  MAP.forEach(([red, green, blue], level) => {
    context.fillStyle = `rgb(${red} ${green} ${blue})`;
    context.fillRect(level, 0, 1, 1);
  });
  const ends = [low, high].map((end) => (scale.decades ? `10${superscript(end)}` : percent(end)));
  const key = (said, colour) => {
    const box = element("i", { class: colour ? "" : "not-read" });
    if (colour) box.style.background = `rgb(${colour.join(" ")})`;
    return element("span", { class: "key" }, box, said);
  };
  return [
    element("span", { class: "key" }, ends[0], bar, ends[1]),
    ...(scale.zero === "exact" ? [key(t("exactly zero"), ZERO)] : []),
    ...(scale.zero === "good" ? [key(t("none"), noneColour())] : []),
    ...(scale.zero === "exact" ? [key(t("not finite"), NOT_FINITE)] : []),
    key(t("not read, no gradient")),
    element("span", {}, statistic === "histogram" ? t("rows: powers of two, the largest on top") : t("rows: the order of the model")),
  ];
}

/** A row of the map in words; of a histogram: its powers of two. */
export function nameSaid(row, statistic) {
  if (statistic !== "histogram") return rowName(row);
  const power = superscript(row.low - 50);
  const next = superscript(row.low - 49);
  return t("magnitudes from 2{power} to 2{next}", { power, next });
}

/** A number of the map in words. */
export function valueSaid(value, statistic) {
  if (Number.isNaN(value)) return t("not read");
  if (!SCALES[statistic].decades) return percent(value);
  if (value === 0) return statistic === "gradient_nonfinite" ? t("none") : t("exactly zero");
  if (statistic === "gradient_nonfinite") return t("{count} entries", { count: value });
  return t("{value} (log10 {log})", { value: number(value, 5), log: number(Math.round(1000 * Math.log10(value)) / 1000) });
}

function rowName(row) {
  return row.count > 1 ? t("{name} ({count} tensors)", { name: row.name, count: row.count }) : row.name;
}
