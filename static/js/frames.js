// Cuts a frame out of a video or a photo, as small as the model wants it: nothing larger goes over the line.

import { words } from './words.js';

/** @typedef {import('./api.js').FrameSize} FrameSize */
/** @typedef {{x: number, y: number, width: number, height: number}} Crop */

const JPEG_QUALITY = 0.9;

/**
 * The frame's size for a model, and the part of the source that fills it. A source is scaled down, never up, unless the
 * model takes one size only.
 * @param {number} width of the source
 * @param {number} height of the source
 * @param {FrameSize} size
 * @returns {{width: number, height: number, crop: Crop}}
 */
export function fit(width, height, size) {
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
  #canvas = document.createElement('canvas');
  #context = this.#canvas.getContext('2d', { alpha: false, willReadFrequently: true });

  /**
   * @param {HTMLVideoElement | HTMLCanvasElement} source
   * @param {FrameSize} size
   * @param {boolean} mirror
   * @returns {Promise<Blob>} a JPEG
   */
  async cut(source, size, mirror) {
    const [width, height] = extent(source);
    const frame = fit(width, height, size);
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
      this.#canvas.toBlob(done, 'image/jpeg', JPEG_QUALITY);
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
