// The visitor's camera: opens it, lists the others, and explains in plain words what went wrong.

import { explanation } from './words.js';

/** @typedef {import('./store.js').Explanation} Explanation */

const NAMES = ['NotAllowedError', 'NotFoundError', 'NotReadableError', 'OverconstrainedError'];

/**
 * Why no camera can be opened here at all, or null.
 * @returns {Explanation | null}
 */
function impossible() {
  if (!window.isSecureContext) return explanation('insecure');
  if (!navigator.mediaDevices?.getUserMedia) return explanation('missing');
  return null;
}

/**
 * What to tell the visitor about an error of `openCamera`.
 * @param {unknown} error
 * @returns {Explanation}
 */
export function explain(error) {
  const name = error instanceof Error ? error.name : '';
  if (name === 'SecurityError') return explanation('insecure');
  return impossible() ?? explanation(NAMES.includes(name) ? name : 'other');
}

/**
 * Opens a camera.
 * @param {string} deviceId of `listCameras`, or '' for the one that faces the visitor
 * @param {[number, number]} resolution that is asked for
 * @returns {Promise<MediaStream>}
 */
export async function openCamera(deviceId, [width, height]) {
  if (impossible()) throw new TypeError('mediaDevices is missing');
  const which = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: 'user' };
  const video = { ...which, width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30 } };
  return navigator.mediaDevices.getUserMedia({ video, audio: false });
}

/**
 * The cameras of this machine. Browsers tell their names only while one is open.
 * @returns {Promise<{id: string, label: string}[]>}
 */
export async function listCameras() {
  if (impossible()) return [];
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter((device) => device.kind === 'videoinput' && device.deviceId)
    .map((device) => ({ id: device.deviceId, label: device.label }));
}

/**
 * Whether people expect to see this camera mirrored: all but the one on the back of a phone.
 * @param {MediaStream} stream
 */
export function facesVisitor(stream) {
  return stream.getVideoTracks()[0]?.getSettings().facingMode !== 'environment';
}
