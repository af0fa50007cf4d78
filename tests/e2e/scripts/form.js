// The controls that the visitor sees, by name: bounds and value of a number between bounds, else the value.
() => {
  const shown = [...document.querySelectorAll('#painter [data-control]')].filter((control) => control.checkVisibility());
  const fields = shown.flatMap((control) => [...control.querySelectorAll('input, textarea, select')]);
  const chosen = fields.filter(({ name, type, checked }) => name && (type !== 'radio' || checked));
  const text = ({ type, min, max, value }) => (type === 'range' ? `${min} to ${max}: ${value}` : value);
  return Object.fromEntries(chosen.map((field) => [field.name, text(field)]));
};
