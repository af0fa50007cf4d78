// Draws the state: the picture, what covers it, and which tools there are.

import { Backdrop } from './backdrop.js';
import { PictureCanvas } from './canvas.js';
import { button, calm, element, part } from './dom.js';
import { FigureLine } from './figures.js';
import { say, words } from './words.js';

/** @typedef {import('./api.js').Painting} Painting */
/** @typedef {import('./store.js').Store} Store */

/** Of a photo, which comes once. */
const FADE_MS = 400;

export class View {
  figures = new FigureLine();
  #store;
  #backdrop = new Backdrop(element('glow', HTMLCanvasElement));
  #video = element('video', HTMLVideoElement);
  #picture = new PictureCanvas(element('picture', HTMLCanvasElement));
  #decoding = 0;
  #drawn = 0;
  #waitedSince = 0;

  /** @param {Store} store */
  constructor(store) {
    this.#store = store;
    store.addEventListener('change', (event) => this.#update(/** @type {CustomEvent} */ (event).detail));
    setInterval(() => this.#wait(), 1000);
    const cut = element('cut', HTMLInputElement);
    cut.addEventListener('input', () => part('stage').style.setProperty('--cut', `${cut.value}%`));
  }

  /**
   * Lets the boxes take the shape of the frames.
   * @param {number} width
   * @param {number} height
   */
  shape(width, height) {
    part('main').style.setProperty('--aspect', String(width / height));
  }

  /**
   * Before there is a picture, the ground shows a style: the chosen one.
   * @param {Element | null} image
   */
  showStyle(image = part('palette').querySelector('input:checked + .swatch img')) {
    if (!this.#store.state.painting) this.#backdrop.show(image);
  }

  /** @param {Set<string>} changed */
  #update(changed) {
    const { phase, painting, trouble, status, alert, mirrored, paused, view } = this.#store.state;
    if (changed.has('painting') && painting) this.#paint(painting);
    if (changed.has('phase')) {
      this.figures.clear();
      this.#waitedSince = performance.now();
    }
    this.#video.classList.toggle('mirrored', mirrored);
    this.#cover(phase, painting !== null);
    this.#say('status', status || (paused ? words.paused : ''));
    this.#say('alert', alert);
    if (changed.has('trouble')) this.#explain(trouble);
    if (!painting) this.#picture.clear();
    this.#arrange(view, phase, painting !== null);
    this.#pauseButton(paused, phase);
  }

  /**
   * @param {string} view
   * @param {string} phase
   * @param {boolean} painted
   */
  #arrange(view, phase, painted) {
    part('painter').dataset.view = view;
    const working = phase === 'live' || phase === 'photo';
    part('cut').hidden = view !== 'compare' || !working || !painted;
    for (const radio of part('views').querySelectorAll('input')) radio.checked = radio.value === view;
  }

  /**
   * @param {boolean} paused
   * @param {string} phase
   */
  #pauseButton(paused, phase) {
    const name = paused ? words.resume : words.pause;
    part('pause').hidden = phase !== 'live';
    part('pause').setAttribute('aria-label', name);
    part('pause').title = `${name} (P)`;
    part('pause').querySelector('use')?.setAttribute('href', paused ? '#resume-sign' : '#pause-sign');
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
    part('bar').hidden = covered;
    part('save').hidden = !painted;
    part('record').hidden = !painted;
    button('start').disabled = phase === 'opening';
    part('start').textContent = phase === 'opening' ? words.cameraOpening : words.start;
    part('toggle').textContent = phase === 'live' ? words.stop : words.start;
    if (focused && !covered) part('toggle').focus();
    part('camera').hidden = !working;
    this.#video.hidden = phase !== 'live';
    part('still').hidden = phase !== 'photo';
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
    const told = part('stage-now').textContent !== '';
    part('waited').textContent = seconds >= 3 ? say(told ? 'soFar' : 'waited', { seconds }) : '';
  }

  /** @param {Painting} painting */
  async #paint(painting) {
    const number = ++this.#decoding;
    const bitmap = await createImageBitmap(painting.blob);
    if (number < this.#drawn || !this.#store.state.painting) return bitmap.close();
    this.#drawn = number;
    this.shape(bitmap.width, bitmap.height);
    if (!calm.matches || !this.figures.gap) this.#backdrop.glow(bitmap);
    const live = this.#store.state.phase === 'live';
    this.#picture.show(bitmap, live ? (this.figures.gap ?? 0) : FADE_MS);
    this.figures.add(painting, live);
  }
}
