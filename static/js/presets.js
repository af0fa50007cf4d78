// Prompts to choose from, and the seed's dice.

import { button, element } from './dom.js';

const prompt = () => element('prompt', HTMLTextAreaElement);
const negative = () => element('negative_prompt', HTMLTextAreaElement);
const presets = () => /** @type {HTMLButtonElement[]} */ ([...element('presets', HTMLElement).querySelectorAll('button')]);

/**
 * @param {HTMLInputElement | HTMLTextAreaElement} field
 * @param {string} value
 */
function fill(field, value) {
  field.value = value;
  field.dispatchEvent(new Event('input', { bubbles: true }));
}

/** Marks the preset whose words stand in the field. */
export function markPreset() {
  for (const preset of presets()) preset.setAttribute('aria-pressed', String(preset.dataset.prompt === prompt().value));
}

const randomSeed = () => String(crypto.getRandomValues(new Uint32Array(1))[0]);

/** Rolls another seed. */
export function rollDice() {
  const seed = element('seed', HTMLInputElement);
  if (!seed.disabled) fill(seed, randomSeed());
}

/**
 * A new seed for each frame where the visitor does not keep one.
 * @param {FormData} fields
 */
export function drawSeed(fields) {
  const seed = element('seed', HTMLInputElement);
  if (!seed.disabled && !element('seed-keep', HTMLInputElement).checked) fields.set('seed', randomSeed());
  return fields;
}

export function offerPresets() {
  for (const preset of presets()) {
    preset.addEventListener('click', () => {
      fill(prompt(), preset.dataset.prompt ?? '');
      if (!negative().disabled) fill(negative(), preset.dataset.negative ?? '');
    });
  }
  prompt().addEventListener('input', markPreset);
  button('dice').addEventListener('click', rollDice);
  markPreset();
}
