// Work that is asked for more often than it can be done.

/** What is asked for while it is still being done waits; slow work is done less often. */
export function paced(work) {
  let waiting = false;
  let busy = false;
  return async function again() {
    if (busy) {
      waiting = true;
      return;
    }
    busy = true;
    const begun = performance.now();
    await work();
    const spent = performance.now() - begun;
    setTimeout(() => {
      busy = false;
      if (waiting) {
        waiting = false;
        again();
      }
    }, Math.max(spent, 50));
  };
}
