// Keeps frames flowing: a few in flight, spaced in time, the newest picture wins, and trouble slows it down.

import { PaintError } from './api.js';
import { median } from './stats.js';

/** @typedef {import('./api.js').Painting} Painting */
/**
 * @typedef {object} Work
 * @property {() => Promise<FormData>} grab the next frame with its parameters
 * @property {(fields: FormData, signal: AbortSignal) => Promise<Painting>} paint
 */

/** However many the server takes: browsers open six connections to a host, and not all of them are for frames. */
const MOST_IN_FLIGHT = 4;
const SHORTEST_GAP = 1000 / 30;
/** Seconds between two tries, if the server does not say. */
const LONGEST_PAUSE = 15;
/** Seconds, whatever the server says. */
const LONGEST_WISH = 60;

/**
 * Fires `painted` (detail: {painting, recovered}, the latter once after trouble), `retrying` (detail: {error, seconds})
 * and `refused` (detail: the error).
 *
 * A refused request is not repeated until `changed` says that it has become another one.
 */
export class Loop extends EventTarget {
  #work;
  #running = false;
  #once = false;
  #halted = false;
  #limit = 1;
  #sent = 0;
  #shown = 0;
  #failures = 0;
  /** The last frame sent when trouble was met; what comes of it and its elders tells nothing new. */
  #troubled = 0;
  #notBefore = 0;
  /** @type {number[]} */
  #latencies = [];
  /** @type {Set<AbortController>} */
  #flying = new Set();
  #timer = 0;

  /** @param {Work} work */
  constructor(work) {
    super();
    this.#work = work;
    document.addEventListener('visibilitychange', () => this.#schedule());
    window.addEventListener('online', () => this.#soon());
  }

  /** Frames that are on their way. */
  get inFlight() {
    return this.#flying.size;
  }

  /**
   * Takes what the server shares out, or else up to half of its free places, so that others find some.
   * @param {import('./api.js').ServerInfo} info
   */
  share({ frames_per_visitor: fair, available_gpus: most, in_flight: all = 0, max_in_flight: places = most }) {
    const others = Math.max(0, all - this.#flying.size);
    this.#limit = Math.max(1, Math.min(MOST_IN_FLIGHT, fair ?? Math.min(most, Math.ceil((places - others) / 2))));
    this.#schedule();
  }

  /** @param {{once: boolean}} how `once`: one picture, and another only after `changed` */
  start({ once }) {
    this.stop();
    this.#running = true;
    this.#once = once;
    this.#soon();
  }

  /** Stops, and cancels what is in flight. */
  stop() {
    this.#running = false;
    this.#cancel();
  }

  /**
   * The parameters have changed. A running stream takes them up with its next frame anyway; a still picture is painted
   * anew. Another model (`restart`) cancels what is in flight and measures afresh.
   * @param {{restart: boolean}} how
   */
  changed({ restart }) {
    if (!this.#running) return;
    if (restart || this.#once) this.#cancel();
    if (restart || this.#once || this.#halted) this.#soon();
  }

  #cancel() {
    clearTimeout(this.#timer);
    this.#flying.forEach((controller) => controller.abort());
    this.#flying.clear();
    this.#latencies = [];
    this.#failures = 0;
    this.#halted = false;
  }

  #soon() {
    this.#halted = false;
    this.#notBefore = 0;
    this.#schedule();
  }

  /** Sends the next frame as soon as it may go. Frames wait for the first answer before there are two in flight. */
  #schedule() {
    clearTimeout(this.#timer);
    const limit = this.#latencies.length > 0 && !this.#once ? this.#limit : 1;
    if (!this.#running || this.#halted || document.hidden || this.#flying.size >= limit) return;
    this.#timer = setTimeout(() => this.#send(), Math.max(0, this.#notBefore - performance.now()));
  }

  async #send() {
    const number = ++this.#sent;
    const controller = new AbortController();
    this.#flying.add(controller);
    const gap = this.#latencies.length > 0 ? median(this.#latencies) / this.#limit : 0;
    this.#notBefore = performance.now() + Math.max(SHORTEST_GAP, gap);
    this.#schedule();
    try {
      const fields = await this.#work.grab();
      const painting = controller.signal.aborted ? null : await this.#work.paint(fields, controller.signal);
      if (painting && !controller.signal.aborted) this.#succeeded(number, painting);
    } catch (error) {
      if (!controller.signal.aborted) this.#failed(number, error);
    } finally {
      this.#flying.delete(controller);
      this.#schedule();
    }
  }

  /**
   * @param {number} number
   * @param {Painting} painting
   */
  #succeeded(number, painting) {
    const recovered = this.#troubled > 0 && number > this.#troubled;
    if (recovered) this.#failures = this.#troubled = 0;
    this.#latencies = [...this.#latencies.slice(-14), painting.total];
    if (this.#once) this.#halted = true;
    if (number < this.#shown) return;
    this.#shown = number;
    this.dispatchEvent(new CustomEvent('painted', { detail: { painting, recovered } }));
  }

  /**
   * @param {number} number
   * @param {unknown} error
   */
  #failed(number, error) {
    if (number <= this.#troubled || (error instanceof PaintError && error.outrun)) return;
    this.#troubled = this.#sent;
    this.#latencies = [];
    if (error instanceof PaintError && !error.passing) {
      this.#halted = true;
      this.dispatchEvent(new CustomEvent('refused', { detail: error }));
      return;
    }
    const asked = error instanceof PaintError ? error.retryAfter : null;
    const seconds = asked === null ? Math.min(LONGEST_PAUSE, 2 ** this.#failures) : Math.min(LONGEST_WISH, Math.max(1, asked));
    this.#failures += 1;
    this.#notBefore = performance.now() + seconds * 1000;
    this.dispatchEvent(new CustomEvent('retrying', { detail: { error, seconds } }));
  }
}
