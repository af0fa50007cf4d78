// The visitor's camera: opens it, lists the others, and explains in plain words what went wrong.

import { cameraErrors } from './words.js';

/** @typedef {{title: string, advice: string}} Explanation */

/**
 * Why no camera can be opened here at all, or null.
 * @returns {Explanation | null}
 */
function impossible() {
  if (!window.isSecureContext) return cameraErrors.insecure;
  if (!navigator.mediaDevices?.getUserMedia) return cameraErrors.missing;
  return null;
}

/**
 * What to tell the visitor about an error of `openCamera`.
 * @param {unknown} error
 * @returns {Explanation}
 */
export function explain(error) {
  const reason = impossible();
  if (reason) return reason;
  switch (error instanceof Error ? error.name : '') {
    case 'NotAllowedError':
      return cameraErrors.NotAllowedError;
    case 'NotFoundError':
      return cameraErrors.NotFoundError;
    case 'NotReadableError':
      return cameraErrors.NotReadableError;
    case 'OverconstrainedError':
      return cameraErrors.OverconstrainedError;
    case 'SecurityError':
      return cameraErrors.insecure;
    case 'AbortError':
      return cameraErrors.AbortError;
    default:
      return cameraErrors.other;
  }
}

/**
 * Opens a camera.
 * @param {string} deviceId of `listCameras`, or '' for the one that faces the visitor
 * @returns {Promise<MediaStream>}
 */
export async function openCamera(deviceId) {
  if (impossible()) throw new TypeError('mediaDevices is missing');
  const which = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: 'user' };
  const video = { ...which, width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
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

/** @param {MediaStream | null} stream */
export function closeCamera(stream) {
  stream?.getTracks().forEach((track) => track.stop());
}
