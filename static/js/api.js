// The server's two routes that the page uses, and the shapes of what they answer.

import { words } from './words.js';

/** @typedef {{width: number, height: number, multiple_of: number, keep_aspect: boolean}} FrameSize */
/** @typedef {{min: number, max: number, default: number}} Bounds */
/**
 * @typedef {object} Controls
 * @property {boolean} prompt
 * @property {boolean} negative_prompt
 * @property {Bounds | null} steps
 * @property {Bounds | null} guidance_scale
 * @property {Bounds | null} strength
 * @property {boolean} seed
 * @property {string[]} schedulers
 * @property {{name: string}[]} styles
 * @property {string | null} default_style
 */
/** @typedef {{name: string, title: string, size: FrameSize, controls: Controls, broken?: string}} ModelInfo */
/** @typedef {{available_gpus: number, models: ModelInfo[], default_model: string}} ServerInfo */
/**
 * @typedef {object} Painting
 * @property {Blob} blob the PNG
 * @property {string} job
 * @property {string} clamped what the server changed to fit the model's bounds; '' if nothing
 * @property {string} warnings what else the visitor should know, in sentences; '' if nothing
 * @property {Record<string, number>} timings milliseconds by the names of `Server-Timing`
 * @property {number} total milliseconds from the request to its last byte
 */

/** An answer that is no picture, or, with status 0, no answer. */
export class PaintError extends Error {
  /**
   * @param {number} status
   * @param {string} message one sentence for the visitor
   * @param {number | null} retryAfter seconds
   */
  constructor(status, message, retryAfter = null) {
    super(message);
    this.name = 'PaintError';
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get passing() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/** @returns {Promise<ServerInfo>} */
export async function serverInfo() {
  const response = await fetch('/serverinfo', { headers: { accept: 'application/json' } }).catch(() => null);
  if (!response) throw new PaintError(0, words.noAnswer);
  if (!response.ok) throw new PaintError(response.status, await reason(response));
  return response.json();
}

/**
 * Has one frame painted.
 * @param {FormData} fields with the frame as `input`
 * @param {AbortSignal} signal
 * @returns {Promise<Painting>}
 */
export async function generate(fields, signal) {
  const start = performance.now();
  try {
    const response = await fetch('/generate', { method: 'POST', body: fields, signal });
    if (!response.ok) {
      const seconds = Number.parseInt(response.headers.get('Retry-After') ?? '', 10);
      throw new PaintError(response.status, await reason(response), Number.isNaN(seconds) ? null : seconds);
    }
    const blob = await response.blob();
    return {
      blob,
      job: response.headers.get('X-Job-Id') ?? '',
      clamped: response.headers.get('X-Clamped') ?? '',
      warnings: response.headers.get('X-Warnings') ?? '',
      timings: parseServerTiming(response.headers.get('Server-Timing') ?? ''),
      total: performance.now() - start,
    };
  } catch (error) {
    if (error instanceof PaintError || signal.aborted) throw error;
    throw new PaintError(0, words.noAnswer);
  }
}

/**
 * `stage;dur=3.1, paint;dur=50` as an object.
 * @param {string} header
 * @returns {Record<string, number>}
 */
export function parseServerTiming(header) {
  const entries = header.split(',').map((entry) => {
    const [name, ...parameters] = entry.split(';').map((part) => part.trim());
    const duration = parameters.find((parameter) => parameter.startsWith('dur='));
    return /** @type {[string, number]} */ ([name, Number(duration?.slice(4))]);
  });
  return Object.fromEntries(entries.filter(([name, duration]) => name && Number.isFinite(duration)));
}

/**
 * The server's own words, as a sentence.
 * @param {Response} response
 */
async function reason(response) {
  const body = await response.json().catch(() => null);
  const text = typeof body?.error === 'string' && body.error ? body.error : `The server answered ${response.status}`;
  return text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}
