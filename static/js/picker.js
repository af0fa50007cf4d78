// Which camera: the list to choose from, and the choice of the last visit.

import { facesVisitor, listCameras, openCamera } from './camera.js';
import { recall, remember } from './store.js';
import { words } from './words.js';

export class CameraPicker {
  #device;
  #mirror;

  /**
   * @param {HTMLSelectElement} device
   * @param {HTMLInputElement} mirror
   */
  constructor(device, mirror) {
    this.#device = device;
    this.#mirror = mirror;
    device.addEventListener('change', () => remember({ device: device.value }));
    mirror.addEventListener('change', () => remember({ mirror: mirror.checked }));
  }

  /**
   * Opens the chosen camera, or, where that is gone, any.
   * @returns {Promise<{stream: MediaStream, substitute: boolean}>}
   */
  async open() {
    const wanted = this.#device.value || recall().device || '';
    try {
      return { stream: await openCamera(wanted), substitute: false };
    } catch (error) {
      if (!wanted || !(error instanceof Error) || error.name !== 'OverconstrainedError') throw error;
      return { stream: await openCamera(''), substitute: true };
    }
  }

  /**
   * Lists the cameras that there are now, and mirrors as the visitor chose or as the open one asks for.
   * @param {MediaStream | null} stream the open camera
   */
  async offer(stream) {
    if (stream) this.#mirror.checked = recall().mirror ?? facesVisitor(stream);
    const cameras = await listCameras().catch(() => []);
    const options = cameras.map(({ id, label }, index) => new Option(label || words.aCamera(index + 1), id));
    const current = stream?.getVideoTracks()[0]?.getSettings().deviceId ?? this.#device.value;
    this.#device.replaceChildren(...options);
    this.#device.value = current;
    this.#device.hidden = cameras.length < 2;
  }
}
