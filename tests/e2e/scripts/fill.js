// Sets a field as a visitor does, and tells the value that it has then.
(selector, value) => {
  const field = document.querySelector(selector);
  field.value = value;
  for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, { bubbles: true }));
  return field.value;
};
