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
 * The parts of one painting's time. What the server does not account for was spent on the line.
 * @param {Painting} painting
 */
function split({ timings, total }) {
  const sum = (/** @type {string[]} */ ...names) => names.reduce((all, name) => all + (timings[name] ?? 0), 0);
  const queue = sum('stage', 'submit', 'queue', 'retrieve');
  const paint = sum('load', 'paint');
  return { network: Math.max(0, total - queue - paint), queue, paint };
}

export class Stats {
  /** @type {{at: number, total: number, network: number, queue: number, paint: number}[]} */
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
      parts: [
        ['network', median(shown.map(({ network }) => network))],
        ['queue', median(shown.map(({ queue }) => queue))],
        ['paint', median(shown.map(({ paint }) => paint))],
      ],
    };
  }
}
