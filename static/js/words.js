// Every sentence that the scripts say, in the language that the server chose for the page.

export const language = document.documentElement.lang;
const response = await fetch(`/static/messages/${language}.json`);
if (!response.ok) throw new Error(`the sentences in the language ${language} cannot be read: ${response.status}`);

/** @type {Record<string, string>} */
export const words = await response.json();

/**
 * A sentence with its gaps filled: `{seconds}` by `seconds`.
 * @param {string} name
 * @param {Record<string, string | number>} gaps
 */
export function say(name, gaps) {
  return words[name].replaceAll(/\{(\w+)\}/g, (_, gap) => String(gaps[gap]));
}

/**
 * What happened, and what the visitor can do.
 * @param {string} name
 */
export const explanation = (name) => ({ title: words[`${name}Title`], advice: words[name] });
