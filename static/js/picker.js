// Which camera, and how: the list to choose from, and the choice of the last visit.

import { facesVisitor, listCameras, openCamera } from './camera.js';
import { element } from './dom.js';
import { recall, remember } from './store.js';
import { say } from './words.js';

/** Fires `camera` where another camera or another resolution is wanted, `shape` for another crop or mirroring. */
export class CameraPicker extends EventTarget {
  #device = element('device', HTMLSelectElement);
  #resolution = element('resolution', HTMLSelectElement);
  #aspect = element('aspect', HTMLSelectElement);
  #mirror = element('mirror', HTMLInputElement);

  constructor() {
    super();
    const { resolution, aspect } = recall();
    if (resolution) this.#resolution.value = resolution;
    if (aspect) this.#aspect.value = aspect;
    for (const [field, name, event] of /** @type {const} */ ([
      [this.#device, 'device', 'camera'],
      [this.#resolution, 'resolution', 'camera'],
      [this.#aspect, 'aspect', 'shape'],
    ])) {
      field.addEventListener('change', () => {
        remember({ [name]: field.value });
        this.dispatchEvent(new Event(event));
      });
    }
    this.#mirror.addEventListener('change', () => {
      remember({ mirror: this.mirrored });
      this.dispatchEvent(new Event('shape'));
    });
  }

  get mirrored() {
    return this.#mirror.checked;
  }

  flip() {
    this.#mirror.click();
  }

  /** The width that is wanted for a height of 1, or null for the source's own. */
  get aspect() {
    return Number(this.#aspect.value) || null;
  }

  /**
   * Opens the chosen camera, or, where that is gone, any.
   * @returns {Promise<{stream: MediaStream, substitute: boolean}>}
   */
  async open() {
    const [width, height] = this.#resolution.value.split('x').map(Number);
    const wanted = this.#device.value || recall().device || '';
    try {
      return { stream: await openCamera(wanted, [width, height]), substitute: false };
    } catch (error) {
      if (!wanted || !(error instanceof Error) || error.name !== 'OverconstrainedError') throw error;
      return { stream: await openCamera('', [width, height]), substitute: true };
    }
  }

  /**
   * Lists the cameras that there are now, and mirrors as the visitor chose or as the open one asks for.
   * @param {MediaStream | null} stream the open camera
   */
  async offer(stream) {
    if (stream) this.#mirror.checked = recall().mirror ?? facesVisitor(stream);
    const cameras = await listCameras().catch(() => []);
    const options = cameras.map(({ id, label }, index) => new Option(label || say('aCamera', { number: index + 1 }), id));
    const current = stream?.getVideoTracks()[0]?.getSettings().deviceId ?? this.#device.value;
    this.#device.replaceChildren(...options);
    this.#device.value = current;
    /** @type {HTMLElement} */ (this.#device.parentElement).hidden = cameras.length < 2;
  }
}
