// The server's two routes that the page uses, and the shapes of what they answer.

import { follow, nameRequest } from './events.js';
import { inOurWords, language, say, words } from './words.js';

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
/** @typedef {{id: string, model: string, device: string, state: 'pending' | 'starting' | 'idle' | 'painting', painted: number}} Runner */
/**
 * @typedef {object} ServerInfo
 * @property {number} available_gpus
 * @property {number} [frames_per_visitor] in flight at once, as the server shares them out now
 * @property {number} [in_flight]
 * @property {number} [max_in_flight]
 * @property {Runner[]} [runners]
 * @property {number} [waiting] frames in line
 * @property {ModelInfo[]} models
 * @property {string} default_model
 */
/**
 * @typedef {object} Painting
 * @property {Blob} blob the PNG
 * @property {string} job
 * @property {string} clamped what the server changed to fit the model's bounds; '' if nothing
 * @property {string} warnings what else the visitor should know, in sentences; '' if nothing
 * @property {Record<string, number>} timings milliseconds by the names of `Server-Timing`
 * @property {number} total milliseconds from the request to its last byte
 * @property {number} download milliseconds from the answer's first byte to its last
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

  /** Whether a newer frame of this page took its place. */
  get outrun() {
    return this.status === 409;
  }

  /** Whether the same request may succeed later. */
  get passing() {
    return this.status === 0 || this.outrun || this.status === 408 || this.status === 429 || this.status >= 500;
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
  const name = nameRequest();
  fields.set('request', name);
  const end = follow(name);
  try {
    const response = await fetch('/generate', { method: 'POST', body: fields, signal });
    if (!response.ok) {
      const seconds = Number.parseInt(response.headers.get('Retry-After') ?? '', 10);
      throw new PaintError(response.status, await reason(response), Number.isNaN(seconds) ? null : seconds);
    }
    const answered = performance.now();
    const blob = await response.blob();
    const whole = performance.now();
    return {
      blob,
      job: response.headers.get('X-Job-Id') ?? '',
      clamped: response.headers.get('X-Clamped') ?? '',
      warnings: response.headers.get('X-Warnings') ?? '',
      timings: parseServerTiming(response.headers.get('Server-Timing') ?? ''),
      total: whole - start,
      download: whole - answered,
    };
  } catch (error) {
    if (error instanceof PaintError || signal.aborted) throw error;
    throw new PaintError(0, words.noAnswer);
  } finally {
    end();
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

/** Where the page is not in the server's own language: what a status means for the visitor. */
const MEANINGS = new Map([
  [400, 'error400'],
  [415, 'error400'],
  [413, 'error413'],
  [422, 'error422'],
  [408, 'error504'],
  [504, 'error504'],
  [500, 'error502'],
  [502, 'error502'],
  [503, 'error502'],
]);

/**
 * What went wrong, as a sentence: the server's own words where the page's language has them.
 * @param {Response} response
 */
async function reason(response) {
  const body = await response.json().catch(() => null);
  const english = typeof body?.error === 'string' ? body.error : '';
  const own = inOurWords(english);
  const meaning = MEANINGS.get(response.status);
  if (language !== 'en' && own === english && meaning) return words[meaning];
  const text = (language === 'en' || own !== english) && own ? own : say('serverSaid', { status: response.status });
  return text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}
