// The kiosk for open days, `?kiosk=1`: big style buttons, no settings, and a fresh start when nobody is there any more.
// Somebody is there who touches something or moves before the camera.

const parameters = new URLSearchParams(location.search);
const LOOK_MS = 1000;
/** Seconds without anyone until the page starts afresh. */
const REST = Math.max(1, Number(parameters.get('rest')) || 60);
/** Mean change of a sample, 0 to 255, from one look to the next, that is more than the camera's noise. */
const MOTION = 4;

export const kiosk = parameters.get('kiosk') === '1';
document.documentElement.classList.toggle('kiosk', kiosk);

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
 * Calls `reset` once after each time that somebody was there.
 * @param {HTMLVideoElement} video
 * @param {() => void} reset
 */
export function watchForRest(video, reset) {
  const sensor = new MotionSensor();
  let seen = performance.now();
  let awake = false;
  const notice = () => {
    seen = performance.now();
    awake = true;
  };
  for (const kind of ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart']) {
    document.addEventListener(kind, notice, { passive: true });
  }
  setInterval(() => {
    if (sensor.look(video) > MOTION) notice();
    if (!awake || performance.now() - seen < REST * 1000) return;
    awake = false;
    reset();
  }, LOOK_MS);
}
