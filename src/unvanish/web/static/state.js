// What is looked at, kept in the address of the page: a reload or a copied address shows the same.

export const state = {
  run: "",
  compare: "",
  statistic: "gradient_rms",
  rows: "blocks",
  tensor: 0,
  view: null, // {first, last}: steps; null: all of them
  windows: [], // [{low, high, name}]: blocks that were opened, the last one is shown
  picked: [], // [{name, low, high}]: rows with a curve
  follow: true,
};

const MOST_PICKED = 8;

/** Read the address. */
export function recall() {
  const asked = new URLSearchParams(location.search);
  for (const name of ["run", "compare", "statistic", "rows"]) {
    if (asked.get(name)) state[name] = asked.get(name);
  }
  state.tensor = Number(asked.get("tensor")) || 0;
  const steps = /^(\d+)-(\d+)$/.exec(asked.get("steps") || "");
  if (steps) state.view = { first: Number(steps[1]), last: Number(steps[2]) };
}

/** Write the address. */
export function remember() {
  const address = new URL(location.href);
  const put = (name, value) => {
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
  };
  put("run", state.run);
  put("compare", state.compare);
  put("statistic", state.statistic === "gradient_rms" ? "" : state.statistic);
  put("rows", state.rows === "blocks" ? "" : state.rows);
  put("tensor", state.tensor || "");
  put("steps", state.view ? `${state.view.first}-${state.view.last}` : "");
  history.replaceState(null, "", address);
}

/** The tensors that are shown. */
export function shownTensors() {
  return state.windows[state.windows.length - 1] || { low: 0, high: null, name: "" };
}

/** Show or hide the curve of a row; whether it is shown now. */
export function pick(row) {
  const known = state.picked.findIndex((one) => one.name === row.name && one.low === row.low);
  if (known >= 0) {
    state.picked.splice(known, 1);
    return false;
  }
  if (state.picked.length >= MOST_PICKED) state.picked.shift();
  state.picked.push(row);
  return true;
}

/** The range of steps, widened or narrowed around a step by a factor, inside the whole. */
export function zoomed(view, whole, around, factor) {
  const from = view || whole;
  const width = Math.max((from.last - from.first) * factor, 4);
  if (width >= whole.last - whole.first) return null;
  const share = (around - from.first) / Math.max(from.last - from.first, 1);
  let first = Math.round(around - share * width);
  first = Math.min(Math.max(first, whole.first), Math.round(whole.last - width));
  return { first, last: Math.round(first + width) };
}
