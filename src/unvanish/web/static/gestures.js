// What a hand does on a heat map: hover, drag, wheel, and all of it by keyboard.

import { placeOf } from "./pictures.js";

/** Let a map be worked by pointer, wheel and keyboard. */
export function handle(map) {
  map.field.addEventListener("pointermove", (event) => hover(map, event));
  map.field.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    map.drag = map.place(event);
    map.field.setPointerCapture(event.pointerId);
  });
  map.field.addEventListener("pointerup", (event) => drop(map, event));
  map.field.addEventListener("pointercancel", () => endDrag(map));
  map.field.addEventListener("wheel", (event) => map.told.wheel(event, map), { passive: false });
  map.field.addEventListener("keydown", (event) => key(map, event));
  map.field.addEventListener("focus", () => {
    if (!map.cursor) map.point(map.domain.last, 0);
    if (map.field.matches(":focus-visible")) map.move(true);
  });
}

function hover(map, event) {
  if (!map.picture.steps.length) return;
  const { x, y } = map.place(event);
  if (map.drag) stretch(map, x, y);
  map.cursor = {
    column: Math.max(placeOf(map.picture.steps, map.stepAt(x)), 0),
    row: map.rowAt(y),
  };
  map.move(false);
}

function stretch(map, x, y) {
  const tall = Math.abs(y - map.drag.y) > 14;
  const style = map.selection.style;
  map.selection.classList.toggle("hidden", Math.abs(x - map.drag.x) < 4 && !tall);
  style.left = `${Math.min(x, map.drag.x)}px`;
  style.width = `${Math.abs(x - map.drag.x)}px`;
  style.top = tall ? `${Math.min(y, map.drag.y)}px` : "0";
  style.height = tall ? `${Math.abs(y - map.drag.y)}px` : "100%";
}

function drop(map, event) {
  if (!map.drag) return;
  const from = map.drag;
  const to = map.place(event);
  endDrag(map);
  const wide = Math.abs(to.x - from.x) >= 6;
  const tall = Math.abs(to.y - from.y) > 14;
  if (!wide && !tall) {
    const at = map.at();
    if (at) map.told.pick(at.row);
    return;
  }
  const ends = [from.x, to.x].map((x) => Math.round(map.stepAt(x))).sort((a, b) => a - b);
  const rows = [from.y, to.y].map((y) => map.rowAt(y)).sort((a, b) => a - b);
  if (wide) map.told.zoom({ first: Math.max(ends[0], 0), last: Math.max(ends[1], ends[0] + 1) });
  if (tall) map.told.rows(map.picture.rows[rows[0]], map.picture.rows[rows[1]]);
}

function endDrag(map) {
  map.drag = null;
  map.selection.classList.add("hidden");
}

function key(map, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { steps, rows } = map.picture;
  const far = event.shiftKey ? 10 : 1;
  const at = map.cursor || { column: steps.length - 1, row: 0 };
  const moves = {
    ArrowLeft: [-far, 0],
    ArrowRight: [far, 0],
    ArrowUp: [0, -far],
    ArrowDown: [0, far],
    PageUp: [0, -10],
    PageDown: [0, 10],
    Home: [-steps.length, 0],
    End: [steps.length, 0],
  };
  if (event.key in moves) {
    const [right, down] = moves[event.key];
    map.cursor = {
      column: Math.min(Math.max(at.column + right, 0), steps.length - 1),
      row: Math.min(Math.max(at.row + down, 0), rows.length - 1),
    };
    map.move(true);
  } else if (!map.told.key(event, map)) return;
  event.preventDefault();
}
