// Records the painted pictures as a video file, crossfades and all.

import { download } from './dom.js';

const KINDS = ['video/webm;codecs=vp9', 'video/webm', 'video/mp4'];
const FRAMES_PER_SECOND = 30;

/** Fires `change` when a recording begins or ends. */
export class Recorder extends EventTarget {
  /** @type {MediaRecorder | null} */
  #recorder = null;

  get recording() {
    return this.#recorder !== null;
  }

  /** Whether this browser can record at all. */
  get possible() {
    return 'MediaRecorder' in window && KINDS.some((kind) => MediaRecorder.isTypeSupported(kind));
  }

  /** @param {HTMLCanvasElement} canvas */
  start(canvas) {
    const kind = KINDS.find((candidate) => MediaRecorder.isTypeSupported(candidate));
    const recorder = new MediaRecorder(canvas.captureStream(FRAMES_PER_SECOND), { mimeType: kind });
    /** @type {Blob[]} */
    const pieces = [];
    recorder.addEventListener('dataavailable', ({ data }) => pieces.push(data));
    recorder.addEventListener('stop', () => {
      const blob = new Blob(pieces, { type: recorder.mimeType });
      if (blob.size > 0) download(blob, `livewebcam.${recorder.mimeType.includes('mp4') ? 'mp4' : 'webm'}`);
      this.dispatchEvent(new CustomEvent('saved', { detail: blob }));
    });
    recorder.start(1000);
    this.#recorder = recorder;
    this.dispatchEvent(new Event('change'));
  }

  stop() {
    if (!this.#recorder) return;
    this.#recorder.stop();
    this.#recorder = null;
    this.dispatchEvent(new Event('change'));
  }
}
