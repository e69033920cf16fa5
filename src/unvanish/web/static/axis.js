// The axis of steps that the map and the curves below it share.

/** A number holds until the next reading, but not for longer than so many usual gaps. */
export const LONGEST = 4;

/** Width of the names beside the map; curves below begin at the same place. */
export function gutter(width) {
  return width < 560 ? 76 : 148;
}

/** Round steps between two, at most so many. */
export function niceSteps(first, last, most) {
  const width = Math.max(last - first, 1);
  const rough = 10 ** Math.floor(Math.log10(width / most));
  const each = [1, 2, 5, 10].map((f) => f * rough).find((size) => width / size <= most + 0.5);
  const spacing = Math.max(1, each);
  const found = [];
  for (let step = Math.ceil(first / spacing) * spacing; step <= last; step += spacing) found.push(step);
  return found;
}
