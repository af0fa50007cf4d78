// How fast pictures come back, as medians over the last ones: one slow frame does not make the figures jump.

/** @typedef {import('./api.js').Painting} Painting */
/**
 * @typedef {object} Figures
 * @property {number | null} rate pictures a second; null before the third
 * @property {number} delay milliseconds from grabbing a frame to its picture
 * @property {[string, number][]} parts what the delay is made of
 */

const WINDOW = 20;

/** @param {number[]} numbers */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * The parts of one painting's time. What the server does not account for was spent on the line; reading the upload is
 * the line's too.
 * @param {Painting} painting
 */
function split({ timings, total, download }) {
  const { stage = 0, submit = 0, queue = 0, load = 0, paint = 0, retrieve = 0 } = timings;
  const waiting = stage + submit + queue + retrieve;
  return { upload: Math.max(0, total - waiting - load - paint - download), queue: waiting, load, paint, download };
}

const PARTS = /** @type {const} */ (['upload', 'queue', 'load', 'paint', 'download']);

export class Stats {
  /** @type {({at: number, total: number} & ReturnType<typeof split>)[]} */
  #shown = [];

  /**
   * @param {Painting} painting
   * @param {number} at milliseconds on `performance.now`'s clock
   */
  add(painting, at) {
    this.#shown.push({ at, total: painting.total, ...split(painting) });
    if (this.#shown.length > WINDOW) this.#shown.shift();
  }

  clear() {
    this.#shown = [];
  }

  /** @returns {Figures | null} */
  figures() {
    const shown = this.#shown;
    if (shown.length === 0) return null;
    const gaps = shown.slice(1).map(({ at }, index) => at - shown[index].at);
    return {
      rate: gaps.length > 1 ? 1000 / median(gaps) : null,
      delay: median(shown.map(({ total }) => total)),
      parts: PARTS.map((part) => [part, median(shown.map((painting) => painting[part]))]),
    };
  }
}
