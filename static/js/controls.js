// The form's controls: shows those that the chosen model has, with its bounds, and the visitor's last choices.

import { part } from './dom.js';
import { recall, remember } from './store.js';
import { inOurWords, say, words } from './words.js';

/** @typedef {import('./api.js').ModelInfo} ModelInfo */
/** @typedef {import('./api.js').Bounds} Bounds */

/** Fires `change` (detail: {model: boolean}, whether the model is another one). */
export class ControlPanel extends EventTarget {
  #form;
  #model;
  #palette;
  /** @type {ModelInfo[]} */
  #models = [];
  #listed = '';
  #drawn = '';
  #initial;

  /** @param {HTMLFormElement} form */
  constructor(form) {
    super();
    this.#form = form;
    this.#initial = initial(form);
    this.#model = /** @type {HTMLSelectElement} */ (form.elements.namedItem('model'));
    this.#palette = part('palette');
    // Sliders and texts tell every change at once; a select tells it once in a way that every browser has.
    for (const kind of ['input', 'change']) {
      form.addEventListener(kind, ({ target }) => {
        if (target instanceof HTMLSelectElement === (kind === 'change')) this.#changed(/** @type {HTMLInputElement} */ (target));
      });
    }
    this.#label();
  }

  get #radios() {
    return [...this.#palette.querySelectorAll('input')];
  }

  /** What the chosen model says of itself. */
  get model() {
    return this.#models.find(({ name }) => name === this.#model.value) ?? null;
  }

  /** Form fields of the chosen model; those that are empty take the server's default. */
  fields() {
    const fields = new FormData(this.#form);
    fields.delete('input');
    for (const [name, value] of [...fields]) if (value === '') fields.delete(name);
    return fields;
  }

  /** Forgets what was chosen: the default model with its own values. */
  reset() {
    remember({ model: undefined, values: {} });
    this.#model.value = this.#initial;
    this.#drawn = '';
    this.#draw();
    this.dispatchEvent(new CustomEvent('change', { detail: { model: true } }));
  }

  /**
   * Chooses the style after or before the chosen one, round and round.
   * @param {1 | -1} step
   */
  turn(step) {
    const radios = this.#radios;
    const place = radios.findIndex(({ checked }) => checked);
    radios[(place + step + radios.length) % radios.length]?.click();
  }

  /** @param {ModelInfo[]} models as the server lists them now */
  offer(models) {
    this.#models = models;
    const list = JSON.stringify(models.map(({ name, title, broken }) => [name, title, broken]));
    const before = this.#model.value;
    if (list !== this.#listed) this.#list(models);
    this.#listed = list;
    this.#draw();
    if (this.#model.value !== before) this.dispatchEvent(new CustomEvent('change', { detail: { model: true } }));
  }

  /** @param {ModelInfo[]} models */
  #list(models) {
    const wanted = this.#listed ? this.#model.value : (recall().model ?? this.#model.value);
    const options = models.map(({ name, title: english, broken }) => {
      const title = inOurWords(english);
      const option = new Option(broken ? say('incomplete', { title }) : title, name);
      option.disabled = Boolean(broken);
      return option;
    });
    this.#model.replaceChildren(...options);
    if (models.some(({ name, broken }) => name === wanted && !broken)) this.#model.value = wanted;
    /** @type {HTMLElement} */ (this.#model.parentElement).hidden = models.length < 2;
  }

  /** @param {HTMLInputElement} field */
  #changed(field) {
    if (!field.name || field.type === 'file') return;
    const another = field.name === 'model';
    if (another) {
      remember({ model: this.#model.value });
      this.#draw();
    } else {
      const values = recall().values ?? {};
      const name = this.#model.value;
      remember({ values: { ...values, [name]: { ...values[name], [field.name]: field.value } } });
      this.#label();
    }
    this.dispatchEvent(new CustomEvent('change', { detail: { model: another } }));
  }

  /** Draws the controls of the chosen model, if it is not the drawn one. */
  #draw() {
    const model = this.model;
    const description = JSON.stringify(model?.controls);
    if (!model || this.#drawn === model.name + description) return;
    this.#drawn = model.name + description;
    const { controls } = model;
    const last = recall().values?.[model.name] ?? {};
    const shown = this.#radios.map(({ value }) => value);
    if (shown.join('\n') !== controls.styles.map(({ name }) => name).join('\n')) {
      this.#palette.replaceChildren(...controls.styles.map(({ name }) => styleCard(name)));
    }
    this.#show('style', controls.styles.length > 0);
    this.#choose(last.style) || this.#choose(controls.default_style) || this.#choose(controls.styles[0]?.name);
    // Where there are styles, the chosen one decides, and words would change nothing.
    const prompt = controls.prompt && controls.styles.length === 0;
    const texts = { prompt, negative_prompt: controls.negative_prompt, seed: controls.seed };
    for (const [name, taken] of Object.entries(texts)) {
      this.#show(name, taken);
      this.#field(name).value = last[name] ?? '';
    }
    this.#range('strength', controls.strength, last.strength);
    this.#range('steps', controls.steps, last.steps);
    this.#range('scale', controls.guidance_scale, last.scale);
    this.#show('scheduler', controls.schedulers.length > 0);
    const schedulers = [new Option(words.ownScheduler, ''), ...controls.schedulers.map((name) => new Option(name))];
    this.#field('scheduler').replaceChildren(...schedulers);
    if (controls.schedulers.includes(last.scheduler)) this.#field('scheduler').value = last.scheduler;
    const more = [...this.#form.querySelectorAll('#more [data-control]')];
    part('more').hidden = more.every((control) => /** @type {HTMLElement} */ (control).hidden);
    this.#label();
  }

  /** @param {string} name */
  #field(name) {
    return /** @type {HTMLInputElement} */ (this.#form.elements.namedItem(name));
  }

  /**
   * @param {string} name
   * @param {boolean} visible
   */
  #show(name, visible) {
    for (const control of this.#form.querySelectorAll(`[data-control="${name}"]`)) {
      /** @type {HTMLElement} */ (control).hidden = !visible;
    }
    if (name !== 'style') this.#field(name).disabled = !visible;
  }

  /**
   * @param {string} name
   * @param {Bounds | null} bounds
   * @param {string | undefined} last
   */
  #range(name, bounds, last) {
    this.#show(name, bounds !== null);
    if (!bounds) return;
    const field = this.#field(name);
    field.min = String(bounds.min);
    field.max = String(bounds.max);
    field.value = last ?? String(bounds.default);
  }

  /**
   * Chooses a style, and tells whether there is such a one.
   * @param {string | null | undefined} name
   */
  #choose(name) {
    const radio = this.#radios.find(({ value }) => value === name);
    if (!radio) return false;
    radio.checked = true;
    const card = /** @type {HTMLElement} */ (radio.parentElement);
    this.#palette.scrollLeft = card.offsetLeft - (this.#palette.clientWidth - card.clientWidth) / 2;
    return true;
  }

  /** Writes the values beside the controls. */
  #label() {
    const chosen = this.#palette.querySelector('input:checked ~ .style-name');
    part('style-chosen').textContent = chosen?.textContent ?? '';
    for (const output of this.#form.querySelectorAll('output[for]')) {
      const { value } = this.#field(output.getAttribute('for') ?? '');
      output.textContent = output.getAttribute('for') === 'strength' ? `${Math.round(Number(value) * 100)} %` : value;
    }
  }
}

/**
 * The model that the server chose.
 * @param {HTMLFormElement} form
 */
function initial(form) {
  const model = /** @type {HTMLSelectElement} */ (form.elements.namedItem('model'));
  return [...model.options].find(({ defaultSelected }) => defaultSelected)?.value ?? model.value;
}

/**
 * A card of the palette, from the template that the server wrote.
 * @param {string} name
 */
function styleCard(name) {
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById('style-card'));
  const card = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  const input = /** @type {HTMLInputElement} */ (card.querySelector('input'));
  const image = /** @type {HTMLImageElement} */ (card.querySelector('img'));
  input.value = name;
  image.src = `/static/styles/${encodeURIComponent(name.replaceAll(' ', '-'))}.jpg`;
  /** @type {HTMLElement} */ (card.querySelector('.style-name')).textContent = inOurWords(name);
  return card;
}
