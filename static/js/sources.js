// What is painted: the camera, a photo, a video file or the screen. One at a time; a source that opens late, after
// another was chosen, is closed again.

import { explain } from './camera.js';
import { drawPhoto } from './frames.js';
import { explanation } from './words.js';

/** @typedef {'camera' | 'photo' | 'video' | 'screen'} Kind */
/** @typedef {import('./store.js').Explanation} Explanation */

/** Why there is no source. */
export class SourceError extends Error {
  /** @param {Explanation} reason */
  constructor(reason) {
    super(reason.title);
    this.reason = reason;
  }
}

/**
 * What to tell about an error of `getDisplayMedia`: mostly, the visitor closed the browser's question.
 * @param {unknown} error
 */
const explainScreen = (error) => (error instanceof Error && error.name === 'NotAllowedError' ? explanation('noScreen') : explain(error));

/** Fires `ended` (detail: an Explanation) when a source goes away by itself. */
export class Sources extends EventTarget {
  #video;
  #still;
  #picker;
  #opening = 0;
  #clip = '';
  /** @type {MediaStream | null} */
  stream = null;
  /** @type {Kind | null} */
  kind = null;
  /** Whether the camera chosen last time was not there. */
  substitute = false;

  /**
   * @param {HTMLVideoElement} video
   * @param {HTMLCanvasElement} still
   * @param {import('./picker.js').CameraPicker} picker
   */
  constructor(video, still, picker) {
    super();
    this.#video = video;
    this.#still = still;
    this.#picker = picker;
  }

  /** What frames are cut from. */
  get element() {
    return this.kind === 'photo' ? this.#still : this.#video;
  }

  get mirrored() {
    return this.kind === 'camera' && this.#picker.mirrored;
  }

  stop() {
    this.#opening += 1;
    this.kind = null;
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.#video.srcObject = null;
    this.#video.removeAttribute('src');
    if (this.#clip) URL.revokeObjectURL(this.#clip);
    this.#clip = '';
  }

  /**
   * Opens a source in place of the last one.
   * @param {Kind} kind
   * @param {File} [file] for a photo or a video
   * @returns {Promise<boolean>} false if another one was chosen meanwhile
   * @throws {SourceError}
   */
  async open(kind, file) {
    this.stop();
    const mine = this.#opening;
    try {
      if (kind === 'photo') await drawPhoto(/** @type {File} */ (file), this.#still);
      else if (kind === 'video') await this.#play(/** @type {File} */ (file));
      else await this.#watch(await this.#openStream(kind), mine, kind);
    } catch (error) {
      if (mine !== this.#opening) return false;
      this.stop();
      const reasons = { camera: explain(error), screen: explainScreen(error), photo: explanation('noPicture'), video: explanation('noVideo') };
      throw new SourceError(reasons[kind]);
    }
    if (mine !== this.#opening) return false;
    this.kind = kind;
    return true;
  }

  /** @param {'camera' | 'screen'} kind */
  async #openStream(kind) {
    if (kind === 'screen') {
      this.substitute = false;
      return navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15 } }, audio: false });
    }
    const opened = await this.#picker.open();
    this.substitute = opened.substitute;
    return opened.stream;
  }

  /**
   * @param {MediaStream} stream
   * @param {number} mine
   * @param {'camera' | 'screen'} kind
   */
  async #watch(stream, mine, kind) {
    if (mine !== this.#opening) {
      stream.getTracks().forEach((track) => track.stop());
      return;
    }
    this.stream = stream;
    stream.getVideoTracks()[0].addEventListener('ended', () => {
      if (mine !== this.#opening) return;
      this.dispatchEvent(new CustomEvent('ended', { detail: explanation(`${kind}Ended`) }));
    });
    this.#video.srcObject = stream;
    await this.#video.play();
    if (mine === this.#opening && kind === 'camera') await this.#picker.offer(stream);
  }

  /** @param {File} file */
  async #play(file) {
    this.#clip = URL.createObjectURL(file);
    this.#video.src = this.#clip;
    this.#video.loop = true;
    await this.#video.play();
    if (!this.#video.videoWidth) throw new Error('no picture in it');
  }
}
