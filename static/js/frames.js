// Cuts a frame out of a video or a photo, as small as the model wants it: nothing larger goes over the line.

import { words } from './words.js';

/** @typedef {import('./api.js').FrameSize} FrameSize */
/** @typedef {{x: number, y: number, width: number, height: number}} Crop */

const JPEG_QUALITY = 0.9;
/** For a slow line. */
const SMALLER_JPEG = 0.65;

/**
 * The frame's size for a model, and the part of the source that fills it. A source is scaled down, never up, unless the
 * model takes one size only.
 * @param {number} width of the source
 * @param {number} height of the source
 * @param {FrameSize} size
 * @param {number | null} aspect the visitor's choice, where the model leaves one
 * @returns {{width: number, height: number, crop: Crop}}
 */
export function fit(width, height, size, aspect) {
  if (size.keep_aspect && aspect) {
    const whole = { width, height };
    width = Math.min(width, height * aspect);
    height = Math.min(height, width / aspect);
    const { crop, ...target } = fit(width, height, size, null);
    crop.x += (whole.width - width) / 2;
    crop.y += (whole.height - height) / 2;
    return { ...target, crop };
  }
  let target = { width: size.width, height: size.height };
  if (size.keep_aspect) {
    const scale = Math.min(size.width / width, size.height / height, 1);
    const multiple = (/** @type {number} */ length) =>
      Math.max(size.multiple_of, Math.floor((length * scale) / size.multiple_of) * size.multiple_of);
    target = { width: multiple(width), height: multiple(height) };
  }
  const scale = Math.min(width / target.width, height / target.height);
  const crop = { width: target.width * scale, height: target.height * scale };
  return { ...target, crop: { ...crop, x: (width - crop.width) / 2, y: (height - crop.height) / 2 } };
}

/** Cuts frames, reusing one canvas. */
export class FrameCutter {
  /** Whether less quality is better than more waiting. */
  slow = false;
  #canvas = document.createElement('canvas');
  #context = this.#canvas.getContext('2d', { alpha: false, willReadFrequently: true });

  /**
   * @param {HTMLVideoElement | HTMLCanvasElement} source
   * @param {FrameSize} size
   * @param {{mirror: boolean, aspect: number | null}} how
   * @returns {Promise<Blob>} a JPEG
   */
  async cut(source, size, { mirror, aspect }) {
    const [width, height] = extent(source);
    const frame = fit(width, height, size, aspect);
    const context = this.#context;
    if (!context || !width) throw new Error(words.noFrame);
    this.#canvas.width = frame.width;
    this.#canvas.height = frame.height;
    context.imageSmoothingQuality = 'high';
    if (mirror) context.setTransform(-1, 0, 0, 1, frame.width, 0);
    const { x, y, width: w, height: h } = frame.crop;
    context.drawImage(source, x, y, w, h, 0, 0, frame.width, frame.height);
    return new Promise((resolve, reject) => {
      const done = (/** @type {Blob | null} */ blob) =>
        blob ? resolve(blob) : reject(new Error(words.noJpeg));
      this.#canvas.toBlob(done, 'image/jpeg', this.slow ? SMALLER_JPEG : JPEG_QUALITY);
    });
  }
}

/**
 * Width and height in pixels; zeros before the first frame.
 * @param {HTMLVideoElement | HTMLCanvasElement} source
 * @returns {[number, number]}
 */
export function extent(source) {
  return source instanceof HTMLVideoElement ? [source.videoWidth, source.videoHeight] : [source.width, source.height];
}

/**
 * Draws a picture file into a canvas, turned as its EXIF data say, at most `longest` pixels long.
 * @param {File} file
 * @param {HTMLCanvasElement} canvas
 */
export async function drawPhoto(file, canvas, longest = 2048) {
  const bitmap = await createImageBitmap(file, { imageOrientation: 'from-image' });
  const scale = Math.min(1, longest / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext('2d');
  if (context) context.imageSmoothingQuality = 'high';
  context?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
}
