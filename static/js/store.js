// What the page knows, and what it remembers between visits.

/** @typedef {{title: string, advice: string}} Explanation */
/**
 * @typedef {object} State
 * @property {'idle' | 'opening' | 'live' | 'photo'} phase
 * @property {Explanation | null} trouble why there is no camera or photo
 * @property {string} status what is going on, where it is not the usual
 * @property {string} alert what went wrong with a frame
 * @property {import('./api.js').Painting | null} painting the newest
 * @property {boolean} mirrored
 * @property {boolean} paused
 * @property {string} view 'picture', 'side' or 'compare'
 */

/** Holds the state and fires `change` with the set of changed keys as `detail`. */
export class Store extends EventTarget {
  /** @type {Readonly<State>} */
  state = { phase: 'idle', trouble: null, status: '', alert: '', painting: null, mirrored: true, paused: false, view: 'picture' };

  /** @param {Partial<State>} patch */
  set(patch) {
    const keys = /** @type {(keyof State)[]} */ (Object.keys(patch));
    const changed = new Set(keys.filter((key) => patch[key] !== this.state[key]));
    if (changed.size === 0) return;
    this.state = { ...this.state, ...patch };
    this.dispatchEvent(new CustomEvent('change', { detail: changed }));
  }
}

const KEY = 'livewebcam';

/**
 * @typedef {object} Memory
 * @property {string} [device]
 * @property {boolean} [mirror]
 * @property {string} [resolution]
 * @property {string} [aspect]
 * @property {string} [view]
 * @property {boolean} [keys]
 * @property {boolean} [more] whether the further settings are open
 * @property {string} [model]
 * @property {Record<string, Record<string, string>>} [values] by model, then by field
 */

/**
 * The choices of the last visit; nothing where the browser keeps nothing.
 * @returns {Memory}
 */
export function recall() {
  try {
    const memory = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    return memory && typeof memory === 'object' ? memory : {};
  } catch {
    return {};
  }
}

/** @param {Partial<Memory>} patch */
export function remember(patch) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...recall(), ...patch }));
  } catch {
    // A browser that keeps nothing still paints.
  }
}
