// The quiet line: how many pictures a second, how long each takes and where, and how busy the server is.

import { part } from './dom.js';
import { Stats } from './stats.js';
import { say, words } from './words.js';

const EVERY_MS = 500;

/** @param {number} rate */
const rateText = (rate) => say('rate', { rate: rate < 10 ? rate.toFixed(1) : Math.round(rate) });
/** @param {number} ms */
const duration = (ms) => (ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/**
 * How many there are, on what if that is one thing, and how many of them are not ready yet.
 * @param {import('./api.js').Runner[]} runners
 */
function runnersText(runners) {
  const [device, ...others] = new Set(runners.map((runner) => runner.device).filter(Boolean));
  const name = (runners.length === 1 ? 'runner' : 'runners') + (device && others.length === 0 ? 'On' : '');
  const coming = runners.filter(({ state }) => state === 'pending' || state === 'starting').length;
  const text = say(name, { count: runners.length, device: device === 'cpu' ? 'CPU' : 'GPU' });
  return coming > 0 ? `${text}, ${say('coming', { count: coming })}` : text;
}

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
    part('delay').textContent = say('delay', { time: duration(figures.delay) });
    const shown = figures.parts.filter(([, ms]) => ms >= 0.5);
    part('parts').textContent = shown.map(([name, ms]) => `${words[name]}\u00a0${Math.round(ms)}`).join(' · ') + '\u00a0ms';
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
  tell({ in_flight: count, max_in_flight: most, runners = [], waiting = 0 }) {
    const parts = [
      runners.length > 0 ? runnersText(runners) : '',
      count !== undefined && most !== undefined ? say('work', { count, most }) : '',
      waiting > 0 ? say('inLine', { count: waiting }) : '',
    ];
    part('work').textContent = parts.filter(Boolean).join(' · ');
  }
}
