// What lies behind the stage: what the chosen style looks like, and later the light of the painted picture.

import { PictureCanvas } from './canvas.js';

const FADE_MS = 1200;

export class Backdrop {
  #canvas;
  #picture;
  #asked = 0;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#picture = new PictureCanvas(canvas);
  }

  /**
   * The light of a picture, without its forms.
   * @param {CanvasImageSource} source
   */
  glow(source) {
    this.#asked += 1;
    this.#picture.clear();
    this.#canvas.hidden = false;
    delete this.#canvas.dataset.style;
    this.#canvas.width = 16;
    this.#canvas.height = 12;
    this.#canvas.getContext('2d')?.drawImage(source, 0, 0, 16, 12);
  }

  /**
   * A style. Where it has no picture, all stays as it is.
   * @param {Element | null} image
   */
  async show(image) {
    const number = ++this.#asked;
    if (!(image instanceof HTMLImageElement)) return;
    await image.decode().catch(() => {});
    if (number !== this.#asked || !image.naturalWidth) return;
    const picture = await createImageBitmap(image);
    if (number !== this.#asked) return picture.close();
    this.#canvas.dataset.style = '';
    this.#picture.show(picture, FADE_MS);
  }
}
