// The quiet line: how many pictures a second, how long each takes and where, and how busy the server is.

import { part } from './dom.js';
import { Stats } from './stats.js';
import { say, words } from './words.js';

const EVERY_MS = 500;

/** @param {number} rate */
const rateText = (rate) => say('rate', { rate: rate < 10 ? rate.toFixed(1) : Math.round(rate) });
/** @param {number} ms */
const duration = (ms) => (ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

export class FigureLine {
  #stats = new Stats();
  #writtenAt = 0;

  clear() {
    this.#stats.clear();
    part('figures').hidden = true;
  }

  /** Milliseconds between two pictures, or null before the third. */
  get gap() {
    const rate = this.#stats.figures()?.rate;
    return rate ? 1000 / rate : null;
  }

  /** Milliseconds that a frame and its picture spend on the line. */
  get line() {
    const parts = Object.fromEntries(this.#stats.figures()?.parts ?? []);
    return (parts.upload ?? 0) + (parts.download ?? 0);
  }

  /**
   * @param {import('./api.js').Painting} painting
   * @param {boolean} live whether pictures follow one another
   */
  add(painting, live) {
    const now = performance.now();
    this.#stats.add(painting, now);
    const figures = this.#stats.figures();
    if (!figures || (now - this.#writtenAt < EVERY_MS && !part('figures').hidden)) return;
    this.#writtenAt = now;
    part('rate').textContent = live && figures.rate ? rateText(figures.rate) : '';
    part('delay').textContent = duration(figures.delay);
    const shown = figures.parts.filter(([, ms]) => ms >= 0.5);
    part('parts').textContent = shown.map(([name, ms]) => `${words[name]} ${Math.round(ms)}`).join(' · ') + ' ms';
    const whole = figures.parts.reduce((sum, [, ms]) => sum + ms, 0) || 1;
    let left = 0;
    for (const [name, ms] of figures.parts) {
      const bar = part('figures').querySelector(`.part-${name}`);
      bar?.setAttribute('x', `${left}%`);
      bar?.setAttribute('width', `${(ms / whole) * 100}%`);
      left += (ms / whole) * 100;
    }
    part('figures').hidden = false;
  }

  /** @param {import('./api.js').ServerInfo} info */
  tell({ in_flight: count, max_in_flight: most }) {
    if (count !== undefined && most !== undefined) part('work').textContent = say('work', { count, most });
  }
}
