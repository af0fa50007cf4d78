// Every sentence that the script says to a visitor.

export const words = {
  start: 'Start the camera',
  stop: 'Stop',
  cameraOff: 'The camera is off',
  cameraOpening: 'Allow the camera when the browser asks',
  aCamera: (/** @type {number} */ number) => `Camera ${number}`,
  chosenCameraGone: 'The camera chosen last time is not there; this is another one.',
  cameraEnded: {
    title: 'The camera went away',
    advice: 'It was unplugged, or the system took it back. Plug it in and start again.',
  },
  noPicture: {
    title: 'This file is no picture that the browser can read',
    advice: 'Choose a PNG, JPEG or WebP file.',
  },
  waited: (/** @type {number} */ seconds) => `${seconds} s so far. A model that was not in use takes a while to load.`,
  lost: (/** @type {number} */ seconds) => `The connection is lost. Next try in ${seconds} s.`,
  busy: (/** @type {number} */ seconds) => `Many people are being painted. Next try in ${seconds} s.`,
  failed: (/** @type {string} */ reason, /** @type {number} */ seconds) => `${reason} Next try in ${seconds} s.`,
  clamped: (/** @type {string} */ changes) =>
    `Changed to what the model takes: ${changes.replaceAll('=', ' ').replaceAll('->', ' → ')}.`,
  warned: (/** @type {string} */ warnings) => `${warnings[0].toUpperCase()}${warnings.slice(1)}.`,
  rate: (/** @type {number} */ rate) => `${rate < 10 ? rate.toFixed(1) : Math.round(rate)} frames/s`,
  delay: (/** @type {number} */ ms) => (ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`),
  parts: (/** @type {[string, number][]} */ parts) =>
    parts.map(([name, ms]) => `${name} ${Math.round(ms)}`).join(' · ') + ' ms',
  noFrame: 'There is no frame yet.',
  noJpeg: 'The browser could not pack the frame.',
  noAnswer: 'The server did not answer.',
  ownScheduler: 'the model’s own',
  noModel: 'No model is ready to paint.',
  copied: 'Copied',
  notCopied: 'The browser did not let the page copy; select the text instead.',
  cancelled: 'Cancelled.',
  notCancelled: 'The server did not cancel it; reload the page and see.',
};

/** Camera errors by the name that browsers give them. */
export const cameraErrors = {
  insecure: {
    title: 'This address gets no camera',
    advice:
      'Browsers give the camera only to pages that come over HTTPS, or from this very machine as http://localhost. ' +
      'Ask for the https address, or choose a photo.',
  },
  missing: {
    title: 'This browser has no camera access',
    advice: 'Open the page in a current Firefox, Chrome, Edge or Safari, or choose a photo.',
  },
  NotAllowedError: {
    title: 'The camera is blocked',
    advice:
      'Allow it for this page, by the sign beside the address, and start again. If it is allowed there, the privacy ' +
      'settings of the system block it for the browser.',
  },
  NotFoundError: {
    title: 'No camera found',
    advice: 'Plug one in and start again, or choose a photo.',
  },
  NotReadableError: {
    title: 'The camera is busy',
    advice: 'Another program is using it, a video call perhaps. Close that and start again, or choose another camera.',
  },
  OverconstrainedError: {
    title: 'This camera does not fit',
    advice: 'It is gone, or it cannot deliver such a picture. Choose another camera and start again.',
  },
  AbortError: {
    title: 'The camera did not start',
    advice: 'The system gave up on it. Plug it in anew or choose another camera, and start again.',
  },
  other: {
    title: 'The camera did not start',
    advice: 'Start again, or choose a photo.',
  },
};
