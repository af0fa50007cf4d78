// The painted picture: each new one comes out of the last, over as long as pictures take to come.

import { calm } from './dom.js';

const LONGEST_FADE_MS = 2000;

export class PictureCanvas {
  #canvas;
  #context;
  #before = document.createElement('canvas');
  /** @type {ImageBitmap | null} */
  #next = null;
  #request = 0;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  }

  /**
   * Shows a picture and closes it. It appears at once where there is nothing like it to come out of, where motion is not
   * wanted, and where nobody looks.
   * @param {ImageBitmap} picture
   * @param {number} fade milliseconds
   */
  show(picture, fade) {
    this.#stop();
    this.#next = picture;
    const { width, height } = this.#canvas;
    const alike = !this.#canvas.hidden && width === picture.width && height === picture.height;
    if (fade <= 0 || !alike || calm.matches || document.hidden) {
      this.#canvas.width = picture.width;
      this.#canvas.height = picture.height;
      this.#finish();
      return;
    }
    this.#before.width = width;
    this.#before.height = height;
    this.#before.getContext('2d')?.drawImage(this.#canvas, 0, 0);
    this.#canvas.dataset.fading = '';
    this.#blend(performance.now(), Math.min(fade, LONGEST_FADE_MS));
  }

  /** Shows nothing, whatever was on its way in. */
  clear() {
    this.#stop();
    this.#canvas.hidden = true;
  }

  #stop() {
    cancelAnimationFrame(this.#request);
    this.#next?.close();
    this.#next = null;
    delete this.#canvas.dataset.fading;
  }

  /**
   * @param {number} start
   * @param {number} fade
   */
  #blend(start, fade) {
    this.#request = requestAnimationFrame((now) => {
      const share = (now - start) / fade;
      if (share >= 1 || !this.#next) return this.#finish();
      this.#context.globalAlpha = 1;
      this.#context.drawImage(this.#before, 0, 0);
      this.#context.globalAlpha = Math.max(0, share);
      this.#context.drawImage(this.#next, 0, 0);
      this.#blend(start, fade);
    });
  }

  #finish() {
    this.#context.globalAlpha = 1;
    if (this.#next) this.#context.drawImage(this.#next, 0, 0);
    this.#stop();
    this.#canvas.hidden = false;
  }
}
