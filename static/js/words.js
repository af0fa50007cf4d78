// Every sentence that the scripts say, in the language that the server chose for the page.

export const language = document.documentElement.lang;
const response = await fetch(`/static/messages/${language}.json`);
if (!response.ok) throw new Error(`the sentences in the language ${language} cannot be read: ${response.status}`);
const { said, ...sentences } = await response.json();

/** @type {Record<string, string>} */
export const words = sentences;

/**
 * A sentence with its gaps filled: `{seconds}` by `seconds`.
 * @param {string} sentence
 * @param {Record<string, string | number>} gaps
 */
const fill = (sentence, gaps) => sentence.replaceAll(/\{(\w+)\}/g, (_, gap) => String(gaps[gap]));

/**
 * @param {string} name
 * @param {Record<string, string | number>} gaps
 */
export const say = (name, gaps) => fill(words[name], gaps);

/**
 * What happened, and what the visitor can do.
 * @param {string} name
 */
export const explanation = (name) => ({ title: words[`${name}Title`], advice: words[name] });

/** What others say with gaps in it: the most particular first. */
const patterns = Object.keys(said)
  .filter((sentence) => sentence.includes('{'))
  .sort((a, b) => b.length - a.length)
  .map((sentence) => {
    const escaped = sentence.replaceAll(/[.*+?^$()|[\]\\]/g, '\\$&');
    return { sentence, kind: new RegExp(`^${escaped.replaceAll(/\{(\w+)\}/g, '(?<$1>.+?)')}$`) };
  });

/**
 * Words of a model, a runner or the cluster in the page's language, or as they are.
 * @param {string} text
 * @returns {string}
 */
export function inOurWords(text) {
  if (Object.hasOwn(said, text)) return said[text];
  for (const { sentence, kind } of patterns) {
    const { groups } = kind.exec(text) ?? {};
    if (groups) return fill(said[sentence], Object.fromEntries(Object.entries(groups).map(([gap, part]) => [gap, inOurWords(part)])));
  }
  return text;
}

/**
 * The same for sentences with `; ` between them, which may have one within.
 * @param {string} text
 */
export function allInOurWords(text) {
  const pieces = text.split('; ');
  const own = [];
  while (pieces.length > 0) {
    const lengths = pieces.map((_, index) => index + 1);
    const known = lengths.find((length) => inOurWords(pieces.slice(0, length).join('; ')) !== pieces.slice(0, length).join('; '));
    own.push(inOurWords(pieces.splice(0, known ?? 1).join('; ')));
  }
  return own.join('; ');
}
