// Tables as they come from the server: a head in JSON and little-endian float32 after it.

import { askBytes } from "./page.js";

/** A picture: `steps`, `rows` ({name, low, high, count}), `table` (steps x rows), `read`. */
export function unpacked(bytes) {
  const length = new DataView(bytes).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
  const rows = head.rows.map(([name, low, high, count]) => ({ name, low, high, count }));
  const table = new Float32Array(bytes, 4 + length);
  return { steps: head.steps, rows, table, read: head.read };
}

/** Ask for a picture; what it shows stands in `query`. */
export async function askPicture(path, query, options) {
  return unpacked(await askBytes(path, query, options));
}

/** One row of a picture as `[steps, values]`, null where it was not read. */
export function curveOf(picture, place) {
  const values = picture.steps.map((_, column) => {
    const value = picture.table[column * picture.rows.length + place];
    return Number.isFinite(value) ? value : null;
  });
  return [picture.steps, values];
}

/** The place of the last step that is not after this one; -1: there is none. */
export function placeOf(steps, step) {
  let low = 0;
  let high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The steps from one column to the next, as most of them are: how wide the last column is. */
export function usualGap(steps) {
  if (steps.length < 2) return 1;
  const gaps = [];
  for (let i = 1; i < steps.length; i += 1) gaps.push(steps[i] - steps[i - 1]);
  return gaps.sort((a, b) => a - b)[gaps.length >> 1];
}
