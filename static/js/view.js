// Draws the state: the picture, what covers it, the camera beside it, and the quiet line of figures.

import { Stats } from './stats.js';
import { words } from './words.js';

/** @typedef {import('./api.js').Painting} Painting */
/** @typedef {import('./store.js').Store} Store */

const FIGURES_EVERY_MS = 500;

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function element(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${type.name} with the id ${id}`);
  return found;
}

/** @param {string} id */
const part = (id) => element(id, HTMLElement);

const calm = matchMedia('(prefers-reduced-motion: reduce)');

export class View {
  #store;
  #picture = element('picture', HTMLCanvasElement);
  #glow = element('glow', HTMLCanvasElement);
  #video = element('video', HTMLVideoElement);
  #stats = new Stats();
  #decoding = 0;
  #drawn = 0;
  #waitedSince = 0;
  #figuresAt = 0;

  /** @param {Store} store */
  constructor(store) {
    this.#store = store;
    store.addEventListener('change', (event) => this.#update(/** @type {CustomEvent} */ (event).detail));
    setInterval(() => this.#wait(), 1000);
  }

  /**
   * Lets the boxes take the shape of the frames.
   * @param {number} width
   * @param {number} height
   */
  shape(width, height) {
    part('main').style.setProperty('--aspect', String(width / height));
  }

  /** Before there is a picture, the ground takes the colours of the chosen style. */
  async showStyle() {
    const image = part('palette').querySelector('input:checked + .swatch img');
    if (!(image instanceof HTMLImageElement) || this.#store.state.painting) return;
    await image.decode().catch(() => {}); // without it the ground stays plain
    if (image.naturalWidth && !this.#store.state.painting) this.#glowLike(image);
  }

  /** @param {Set<string>} changed */
  #update(changed) {
    const { phase, painting, trouble, status, alert, mirrored } = this.#store.state;
    if (changed.has('painting') && painting) this.#paint(painting);
    if (changed.has('phase')) {
      this.#stats.clear();
      this.#waitedSince = performance.now();
    }
    this.#video.classList.toggle('mirrored', mirrored);
    this.#cover(phase, painting !== null);
    this.#say('status', status);
    this.#say('alert', alert);
    if (changed.has('trouble')) this.#explain(trouble);
    if (!painting) this.#picture.hidden = true;
    if (phase === 'idle') part('figures').hidden = true;
  }

  /**
   * Decides what lies over the picture and which buttons are there.
   * @param {string} phase
   * @param {boolean} painted
   */
  #cover(phase, painted) {
    const { trouble } = this.#store.state;
    const working = phase === 'live' || phase === 'photo';
    const covered = trouble !== null || (!working && !painted);
    const focused = document.activeElement === part('start');
    part('painter').dataset.phase = phase;
    part('overlay').hidden = !covered;
    part('waiting').hidden = covered || !working || painted;
    this.#wait();
    part('actions').hidden = covered;
    part('camera-choices').hidden = phase !== 'live';
    part('journey').hidden = working || painted;
    part('save').hidden = !painted;
    part('toggle').textContent = phase === 'live' ? words.stop : words.start;
    if (focused && !covered) part('toggle').focus();
    this.#video.hidden = phase !== 'live';
    part('still').hidden = phase !== 'photo';
    part('camera-off').hidden = working;
    part('camera-off').textContent = phase === 'opening' ? words.cameraOpening : words.cameraOff;
  }

  /** @param {import('./store.js').Explanation | null} trouble */
  #explain(trouble) {
    part('welcome').hidden = trouble !== null;
    const lines = trouble ? [trouble.title, trouble.advice] : [];
    const paragraphs = lines.map((line, index) => {
      const paragraph = document.createElement('p');
      paragraph.textContent = line;
      if (index === 0) paragraph.className = 'headline';
      return paragraph;
    });
    part('trouble').replaceChildren(...paragraphs);
  }

  /**
   * @param {'status' | 'alert'} id
   * @param {string} text
   */
  #say(id, text) {
    if (part(id).textContent !== text) part(id).textContent = text;
  }

  #wait() {
    if (part('waiting').hidden) return;
    const seconds = Math.floor((performance.now() - this.#waitedSince) / 1000);
    part('waited').textContent = seconds >= 3 ? words.waited(seconds) : '';
  }

  /** @param {Painting} painting */
  async #paint(painting) {
    const number = ++this.#decoding;
    const bitmap = await createImageBitmap(painting.blob);
    if (number > this.#drawn && this.#store.state.painting) {
      this.#drawn = number;
      this.#picture.width = bitmap.width;
      this.#picture.height = bitmap.height;
      this.#picture.getContext('2d')?.drawImage(bitmap, 0, 0);
      this.#picture.hidden = false;
      this.shape(bitmap.width, bitmap.height);
      if (!calm.matches || !this.#stats.figures()) this.#glowLike(bitmap);
      this.#measure(painting);
    }
    bitmap.close();
  }

  /** @param {CanvasImageSource} source */
  #glowLike(source) {
    this.#glow.getContext('2d')?.drawImage(source, 0, 0, this.#glow.width, this.#glow.height);
  }

  /** @param {Painting} painting */
  #measure(painting) {
    const now = performance.now();
    this.#stats.add(painting, now);
    const figures = this.#stats.figures();
    if (!figures || (now - this.#figuresAt < FIGURES_EVERY_MS && !part('figures').hidden)) return;
    this.#figuresAt = now;
    const live = this.#store.state.phase === 'live';
    part('rate').textContent = live && figures.rate ? words.rate(figures.rate) : '';
    part('delay').textContent = words.delay(figures.delay);
    part('parts').textContent = words.parts(figures.parts);
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
}
