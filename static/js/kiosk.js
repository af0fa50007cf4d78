// The kiosk for open days, `?kiosk=1`: big style buttons, no settings, styles that invite, and a fresh start when nobody is
// there any more. Somebody is there who touches something, moves before the camera, or waits for the first picture.

import { calm, part } from './dom.js';

const LOOK_MS = 1000;
/** Seconds without anyone until the page starts afresh. */
const REST = Math.max(1, Number(new URLSearchParams(location.search).get('rest')) || 60);
/** Mean change of a sample, 0 to 255, from one look to the next, that is more than the camera's noise. */
const MOTION = 4;
/** How long a style is seen before the next one comes. */
const SEEN_MS = 4500;

/** How much what the camera sees has changed since the last look. */
class MotionSensor {
  #context = new OffscreenCanvas(32, 24).getContext('2d', { willReadFrequently: true });
  /** @type {Uint8ClampedArray | null} */
  #last = null;

  /** @param {HTMLVideoElement} video */
  look(video) {
    if (!this.#context || !video.videoWidth || video.hidden) return 0;
    this.#context.drawImage(video, 0, 0, 32, 24);
    const { data } = this.#context.getImageData(0, 0, 32, 24);
    const last = this.#last ?? data;
    this.#last = data;
    return data.reduce((sum, value, index) => sum + Math.abs(value - last[index]), 0) / (data.length * 0.75);
  }
}

/**
 * @param {import('./store.js').Store} store
 * @param {HTMLVideoElement} video
 * @param {(image: Element | null) => void} show what a style looks like
 * @param {() => void} reset
 */
export function attend(store, video, show, reset) {
  const isAt = (/** @type {string} */ phase) => store.state.phase === phase && !store.state.painting;
  const sensor = new MotionSensor();
  let seen = performance.now();
  let awake = false;
  let chosen = false;
  let step = 0;
  const notice = () => {
    seen = performance.now();
    awake = true;
  };
  for (const kind of ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart']) {
    document.addEventListener(kind, notice, { passive: true });
  }
  part('palette').addEventListener('input', () => (chosen = true));
  setInterval(() => {
    if (sensor.look(video) > MOTION || isAt('live')) notice();
    if (!awake || performance.now() - seen < REST * 1000) return;
    awake = chosen = false;
    reset();
  }, LOOK_MS);
  // From the chosen one on, until somebody chooses one.
  setInterval(() => {
    if (!isAt('idle') || chosen || calm.matches || document.hidden) return;
    const images = [...part('palette').querySelectorAll('img')];
    const first = images.findIndex((image) => image.closest('.style')?.querySelector(':checked'));
    step += 1;
    show(images[(first + step) % images.length] ?? null);
  }, SEEN_MS);
}
